"""Risk: how likely a word names what is not in the picture. `signals` and `passes` are what it is read from, `fitting`
learns it, `model` is what is kept of it, `asked` asks the model itself."""

"""The calibrated risk that a word is hallucinated. `signals` and `passes` make its features, `fitting` trains it,
`model` holds and applies it, `asked` asks the model itself."""

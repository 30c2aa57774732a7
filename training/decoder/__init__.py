"""The recipe of a scenes model with a real language model as its decoder: `python -m training.decoder.train`."""

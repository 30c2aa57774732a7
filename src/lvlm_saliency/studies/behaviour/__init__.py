"""Which draws SGRS refuses, and the effect on the text."""

"""Saliency rows of a generated text: `one_pass` computes them in one pass, `definition` by the definition."""

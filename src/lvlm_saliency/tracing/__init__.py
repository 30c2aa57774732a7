"""Diagnosis: saliency rows of a generated text. `one_pass` is the fast exact way, `definition` the definition."""

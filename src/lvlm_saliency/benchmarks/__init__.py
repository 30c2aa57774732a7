"""Scorers of the field's hallucination benchmarks: pure functions over plain data, equal to the official scripts.

`from lvlm_saliency.benchmarks import chair, pope, mme, amber`. None of them imports torch. docs/scorers.md says what
equals what, and the command that proves it.
"""

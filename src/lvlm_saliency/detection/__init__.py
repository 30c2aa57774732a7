"""Published hallucination detectors under one interface: one file for each, its paper and equation in its docstring.

A detector says how likely a word of an answer is hallucinated (higher: more likely). What it reads of the model is
declared (`Needs`), captured once for all detectors that are asked (`capture.reading`), and kept in a `Reading`.
"""

"""Published hallucination detectors under one interface: one file for each, its paper and equation in its docstring.

A detector scores how likely a word of an answer is hallucinated (higher: more likely). It declares what it reads of the
model (`Needs`). That is captured once for all requested detectors (`capture.reading`) and kept in a `Reading`.
"""

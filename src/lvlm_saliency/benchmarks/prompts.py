"""The prompts of every benchmark. They are fixed: a changed word changes published figures, so tests hold snapshots."""

from __future__ import annotations

DESCRIBE = "Please describe this image in detail."
"""CHAIR, as in the papers on decoding (OPERA and its successors)."""

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
"""Appended to POPE's and AMBER's yes/no questions, as in LLaVA's own evaluation of POPE; their files hold bare
questions. MME's questions already end in "Please answer yes or no."."""

VIZWIZ = "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT_ANSWER
"""Appended to VizWiz's questions, as in LLaVA's question file."""

OPTION_LETTER = "\nAnswer with the option's letter from the given choices directly."
"""Appended to ScienceQA's questions, as in LLaVA's own evaluation."""

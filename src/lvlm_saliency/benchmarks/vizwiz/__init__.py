"""VizWiz: short answers to blind people's questions, against ten people's answers each (Gurari et al. 2018).

Official sources: VizWiz's own API (`VQAEval`), and LLaVA's `m4c_evaluator.py`, whose normaliser makes the upload file.
"""

from .normalise import VARIANTS, normalise
from .scorer import score, submission, table

__all__ = ["VARIANTS", "normalise", "score", "submission", "table"]

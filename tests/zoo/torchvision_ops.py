"""torchvision from a package index is a build for a card, whose compiled part does not load beside a torch for the CPU.

The image processors need none of its operators; its Python code only wants two of them to be declared. The commands
that tests start do not declare them, so the folder of torchvision is no PYTHONPATH: `LVLM_SALIENCY_PROCESSORS` names it
(`make families`, `make test-slow`), and only this process reads from it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import torch

_OPERATORS = dict.fromkeys(("nms", "qnms"), "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_kept = []  # torch forgets a library of operators when nothing holds it


def declare() -> None:
    """Declare what the compiled part would, where it is there and does not load."""
    if (folder := os.environ.get("LVLM_SALIENCY_PROCESSORS")) and folder not in sys.path:
        sys.path.append(folder)
    found = importlib.util.find_spec("torchvision")
    if found is None or _kept:
        return
    for file in Path(found.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(file))
        except OSError:
            library = torch.library.Library("torchvision", "DEF")
            for name, schema in _OPERATORS.items():
                library.define(name + schema)
            _kept.append(library)

"""The methods that the contract is held against, each in a setting that changes the text and in its neutral one."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lvlm_saliency as ls
from lvlm_saliency.guard.verdicts import Random, Rates
from lvlm_saliency.interventions.beam import Beam
from lvlm_saliency.interventions.causalmm import CausalMM
from lvlm_saliency.interventions.dola import DoLa
from lvlm_saliency.interventions.dopra import DOPRA
from lvlm_saliency.interventions.eah import EAH
from lvlm_saliency.interventions.farsight import FarSight
from lvlm_saliency.interventions.icd import ICD
from lvlm_saliency.interventions.memvr import MemVR
from lvlm_saliency.interventions.opera import OPERA
from lvlm_saliency.interventions.pai import PAI
from lvlm_saliency.interventions.tame import TAME
from lvlm_saliency.interventions.vcd import VCD


def letters() -> str:
    """A vocabulary for models that write nonsense: every letter, and some pieces of words, are objects of their own."""
    folder = Path(tempfile.mkdtemp(prefix="words-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    names = [*"abcdefghijklmnopqrstuvwxyz", "es", "de", "er", "ds", "la", "et", "hi", "or", "an", "it", "is", "istant"]
    (folder / "words.txt").write_text("\n".join(names))
    return str(folder / "words.txt")


ALL_ABSENT = {"words": letters(), "verdicts": Random(Rates((1.0,), 1.0)), "seed": 3}


@dataclass(frozen=True)
class Row:
    """A method in a setting that changes the text, and in its neutral setting."""

    name: str
    active: Any
    neutral: Any
    block: bool
    """Usable as `with method(model):`."""
    pictures: bool = False
    """Acts on pictures: text models are refused."""
    cacheable: bool = True
    """What it does to earlier rows does not change as the text grows."""
    searches: bool = False
    """Forks the cache of a prompt: it refuses to run without one, and counts its passes by its own rule."""
    variant: bool = False
    """Another setting of a method that has a row of its own: the fast tests take fewer families for it."""


METHODS = [
    Row("locore", ls.LocoRE(beta=1.5, window=3), ls.LocoRE(beta=0), True),
    Row("locore-logit", ls.LocoRE(beta=1.5, space="logit"), ls.LocoRE(beta=0, space="logit"), True, variant=True),
    Row(
        "locore-unnormalised",
        ls.LocoRE(beta=1.5, space="unnormalised"),
        ls.LocoRE(beta=0, space="unnormalised"),
        True,
        variant=True,
    ),
    Row("vcd", VCD(beta=0.01, seed=5), VCD(alpha=0, beta=0), False, pictures=True),
    Row("pai", PAI(alpha=2.0, gamma=1.5, beta=0.01), PAI(alpha=0, gamma=1), False, pictures=True),
    Row("pai-gain", PAI(alpha=2.0, gamma=1), PAI(alpha=0, gamma=1), True, pictures=True, variant=True),
    Row("farsight", FarSight(sigma=0.01), FarSight(sigma=math.inf), True, cacheable=False),
    Row("farsight-horizon", FarSight(sigma=0.05, horizon=64), FarSight(sigma=math.inf, horizon=64), True, variant=True),
    Row("dola", DoLa(relative_top=0.01), DoLa(contrast=0, relative_top=0), False),
    Row("tame", TAME(gain=4.0), TAME(gain=0), True),
    Row("eah", EAH(threshold=1e-4), EAH(threshold=math.inf), True, pictures=True),
    Row("memvr", MemVR(alpha=0.9, gamma=0.5), MemVR(alpha=0), True, pictures=True),
    Row("causalmm", CausalMM(epsilon=0.01), CausalMM(gamma=0, epsilon=0), False),
    Row("icd", ICD(alpha=2.0, beta=0.001), ICD(alpha=0, beta=0), False, pictures=True),
    Row(
        "icd-front",
        ICD(alpha=2.0, beta=0.001, mode="official_code"),
        ICD(alpha=0, beta=0, mode="official_code"),
        False,
        pictures=True,
        variant=True,
    ),
    Row("beam", Beam(n_beams=3), Beam(n_beams=1), False, searches=True),
    Row(
        "opera",
        OPERA(n_beams=2, candidates=3, alpha=50.0),
        OPERA(n_beams=1, alpha=0, threshold=math.inf, candidates=1000),
        False,
        searches=True,
    ),
    Row(
        "dopra",
        DOPRA(n_beams=2, candidates=2, sigma=500.0, threshold=2),
        DOPRA(n_beams=1, alpha=0, threshold=math.inf, candidates=1000),
        False,
        searches=True,
    ),
    Row("guard", ls.Guard(**ALL_ABSENT), ls.Guard(**ALL_ABSENT, action="flag"), False, searches=True),
    Row("sgrs-greedy", ls.SGRS(alpha=1.0, order="greedy"), ls.SGRS(alpha=0, order="greedy"), False, variant=True),
    Row("sgrs-sample", ls.SGRS(alpha=1.0, seed=4), ls.SGRS(top_k=1, alpha=0, seed=4), False),
]

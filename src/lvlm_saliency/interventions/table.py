"""The only list of the built-in methods, one row each."""

from __future__ import annotations

BUILT_IN = {
    "beam": "lvlm_saliency.interventions.beam:Beam",
    "causalmm": "lvlm_saliency.interventions.causalmm:CausalMM",
    "dola": "lvlm_saliency.interventions.dola:DoLa",
    "dopra": "lvlm_saliency.interventions.dopra:DOPRA",
    "eah": "lvlm_saliency.interventions.eah:EAH",
    "farsight": "lvlm_saliency.interventions.farsight:FarSight",
    "guard": "lvlm_saliency.guard.method:Guard",
    "icd": "lvlm_saliency.interventions.icd:ICD",
    "locore": "lvlm_saliency.interventions.locore:LocoRE",
    "memvr": "lvlm_saliency.interventions.memvr:MemVR",
    "opera": "lvlm_saliency.interventions.opera:OPERA",
    "pai": "lvlm_saliency.interventions.pai:PAI",
    "sample": "lvlm_saliency.interventions.sampling:Sampling",
    "sgrs": "lvlm_saliency.interventions.sgrs:SGRS",
    "tame": "lvlm_saliency.interventions.tame:TAME",
    "vcd": "lvlm_saliency.interventions.vcd:VCD",
}

"""Scorers of the field's hallucination benchmarks: pure functions over plain data, equal to the official scripts.

`from lvlm_saliency.benchmarks import chair, pope, mme, amber`, or `llava_bench, mm_vet, vizwiz, scienceqa,
hallusionbench, mmhal_bench, mmvp`, which read a judge's replies or people's answers. None of them imports torch.
docs/scorers.md says what equals what, and the command that proves it.
"""

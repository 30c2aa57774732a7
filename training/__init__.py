"""The recipe of the model that ships as `lvlm_saliency/scenes/model`; not part of the installed package."""

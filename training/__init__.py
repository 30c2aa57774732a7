"""Training of the model that ships as `lvlm_saliency/scenes/model`. Not part of the installed package."""

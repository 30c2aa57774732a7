"""The methods: a frozen dataclass each, whose fields are its settings.

`registry.methods()` lists the registered names, `registry.method("sgrs", alpha=0.9)` builds one. Other packages add
theirs through the entry-point group `lvlm_saliency.methods`.
"""

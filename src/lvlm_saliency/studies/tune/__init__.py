"""Settings for a model by successive halving, judged on pictures that took no part."""

"""The guard's calibration: a causal risk, its weights beside the model's answer, and thresholds, for any model."""

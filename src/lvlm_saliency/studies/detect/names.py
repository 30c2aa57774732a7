"""Names that the study, its tables and its figures share."""

AS_SAVED = "as saved"
"""The calibration of the risk model that is written: Platt's line, or one that bends (`risk.fitting.calibration`)."""

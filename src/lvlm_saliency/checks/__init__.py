"""`check`: whether what this package promises holds for one loaded model, measured on that model."""

from lvlm_saliency.checks.report import CheckReport, CheckRow
from lvlm_saliency.checks.run import check

__all__ = ["CheckReport", "CheckRow", "check"]

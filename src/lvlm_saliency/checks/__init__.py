"""`check`: verifies this package's guarantees on one loaded model."""

from lvlm_saliency.checks.report import CheckReport, CheckRow
from lvlm_saliency.checks.run import check

__all__ = ["CheckReport", "CheckRow", "check"]

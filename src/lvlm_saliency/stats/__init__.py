"""Counts, bootstrap intervals over pictures, calibration and thresholds, as pure functions of numpy."""

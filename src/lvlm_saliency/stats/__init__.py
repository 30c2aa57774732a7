"""Counts, bootstrap intervals over pictures, and calibration, as pure functions of numpy."""

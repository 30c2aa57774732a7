"""A calibrated risk for every object word; `risk` holds its features and its model."""

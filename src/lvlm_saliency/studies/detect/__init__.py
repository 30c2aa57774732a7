"""A calibrated risk for every object word; `studies/risk` holds its features and its model."""

"""Measures the paper's tables on a user's checkpoints: `paper` holds its figures, `plan` the needs of each table, `run`
measures it, `page` shows both side by side with a verdict per claim."""

"""The paper's tables again, on a user's checkpoints: `paper` holds its figures, `plan` what each table needs, `run`
makes it, `page` sets the figures side by side with a verdict per claim."""

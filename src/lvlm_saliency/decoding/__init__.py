"""The decode loop, and what may decide the next token in it."""

"""The decode loop, beam search, contrast branches and seeded draws."""

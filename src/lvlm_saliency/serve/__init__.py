"""A server that speaks the API that everyone's clients speak, and says of every word what it depends on; and its page."""

"""A server that speaks the API of everyone's clients and says of every word what it depends on; and its page."""

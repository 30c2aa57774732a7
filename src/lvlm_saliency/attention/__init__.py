"""The mechanism: attention rows, their edits and their gradients, on unmodified models.

`rows` is the mathematics, `backend` the one attention function, `session` switches it on for the length of a call.
"""

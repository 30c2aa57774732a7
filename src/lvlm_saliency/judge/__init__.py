"""A language model as the judge of answers, as some benchmarks require; every reply is saved, and none is asked twice.

`ask` defines requests and replies, `client` the endpoint, `cache` the file of replies, `replay` recorded ones,
`wording` the judge's instructions. A benchmark's own part is its `judging.py`.
"""

"""Asking a language model to judge answers, as some benchmarks do: one client, every reply kept, nothing judged twice.

`ask` holds what a request and a reply are, `client` the endpoint, `cache` the file of replies, `replay` recorded ones,
`wording` what the judge is told. A benchmark's own part is its `judging.py`.
"""

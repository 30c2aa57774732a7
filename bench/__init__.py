"""Speed and memory, measured: `make bench` on a CPU, `python -m bench.gpu` on a card.

Every row is a ratio against its own baseline, alternated with it in one run, and reported as the median of the paired
ratios with their spread.
"""

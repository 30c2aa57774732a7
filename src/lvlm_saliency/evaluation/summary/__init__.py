"""The summary of a run, and the comparison of several: tables and plots as Markdown and as one HTML page."""

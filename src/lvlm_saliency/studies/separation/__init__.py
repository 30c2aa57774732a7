"""Do hallucinated words have lower saliency? Scores, bins, controls, and what saliency adds to log-probability."""

"""The drawn world as a benchmark: captions scored as CHAIR and questions as POPE, on exact ground truth."""

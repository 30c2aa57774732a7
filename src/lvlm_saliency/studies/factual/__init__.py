"""Do wrong answers have lower saliency? Short questions with known answers, for language models."""

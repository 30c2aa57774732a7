"""Are wrong answers told by low saliency? Short questions with known answers, for models that read text."""

"""What happens when attention to confident correct words is weakened while the text is written."""

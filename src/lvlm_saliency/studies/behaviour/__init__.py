"""What SGRS refuses, draw by draw, and what that does to the text."""

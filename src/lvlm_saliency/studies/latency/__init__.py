"""What every method costs, in alternating pairs."""

"""This package behind other people's tools."""

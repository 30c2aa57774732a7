"""Loads models and processors, opens pictures, and builds and checks model inputs."""

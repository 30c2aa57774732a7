"""From a name or a folder, and a picture and a question, to a model, its processor and its inputs."""

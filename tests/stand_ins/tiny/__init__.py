"""A network that compiles in a second, and that needs all that a model can ask of the rest."""

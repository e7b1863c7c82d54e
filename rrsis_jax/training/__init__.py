"""The loop, the step, the optimiser, and where parameters come from."""

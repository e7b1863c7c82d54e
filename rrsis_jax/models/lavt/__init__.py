"""LAVT (Yang et al., CVPR 2022), the base of its family."""

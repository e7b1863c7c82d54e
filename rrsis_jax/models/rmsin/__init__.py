"""RMSIN: rotated multi-scale interaction network (Liu et al., CVPR 2024)."""

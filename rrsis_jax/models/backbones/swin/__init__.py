"""The Swin transformer (Liu et al., ICCV 2021)."""

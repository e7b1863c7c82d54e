"""FIANet: fine-grained image-text alignment network (Lei et al., TGRS 2025)."""

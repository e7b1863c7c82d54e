"""BEiT-3 (Wang et al., CVPR 2023), image and text in one sequence."""

"""SAM 2 and 2.1 for still images (Ravi et al., 2024): Hiera, feature pyramid, prompts, decoder."""

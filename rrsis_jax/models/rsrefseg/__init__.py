"""RSRefSeg (Chen et al., IGARSS 2025): SigLIP's activations become prompts of SAM."""

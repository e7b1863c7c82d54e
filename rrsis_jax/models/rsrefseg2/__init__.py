"""RSRefSeg 2 (Chen et al., 2025): SigLIP 2 and SAM 2 with a cascaded prompter between them."""

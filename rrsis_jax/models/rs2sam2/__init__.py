"""RS2-SAM2 (Rong et al., 2025): SAM 2 whose image encoder reads the phrase, prompted by BEiT-3."""

"""AeroReformer: aerial referring transformer (Li et al., 2025)."""

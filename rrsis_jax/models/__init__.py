"""The networks: Swin with pixel-word fusion, Flax BERT, the LAVT and LGCE decoders."""

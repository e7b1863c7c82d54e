"""Segment Anything (Kirillov et al., ICCV 2023): image encoder, prompt encoder, mask decoder."""

"""What a step has to compute, and what devices can: floating-point operations per second."""

from rrsis_jax.types import Device

# Dense bfloat16 peaks in FLOP/s from the vendors' data sheets, by the start of JAX's device kind.
BFLOAT16_PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,  # SXM; the PCIe card has 756e12
    "NVIDIA H200": 989e12,
    "TPU v2": 23e12,  # of one core, which is what JAX calls a device; 45e12 a chip
    "TPU v3": 61.5e12,  # likewise; 123e12 a chip
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
}

# Multiply-adds of LGCE with Swin-B and BERT-base at 480×480 and 20 tokens, counted twice.
FORWARD_FLOPS = 391e9 + 3.4e9
TRAINING_FACTOR = 3.0  # a backward pass takes two products for each of the forward pass


def peak(device: Device) -> float | None:
    """Returns the device's bfloat16 peak in FLOP/s, or None where the table has none."""
    known = [kind for kind in BFLOAT16_PEAKS if device.device_kind.startswith(kind)]
    return BFLOAT16_PEAKS[max(known, key=len)] if known else None


def utilisation(flops: float, seconds: float, device: Device) -> str:
    """Returns the share of the device's peak that `flops` in `seconds` are, or "unknown"."""
    limit = peak(device)
    return f"{flops / seconds / limit:.1%}" if limit else "unknown"


def is_counted(config) -> bool:
    """Returns whether `FORWARD_FLOPS` describes this configuration's network."""
    if config.model.name != "lgce":
        return False
    vision, text = config.model.vision, config.model.text
    return (vision.embed_dim, tuple(vision.depths)) == (128, (2, 2, 18, 2)) and (
        text.hidden_size,
        text.num_hidden_layers,
    ) == (768, 12)

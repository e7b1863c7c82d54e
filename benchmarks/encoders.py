"""Image encoders of the foundation models beside transformers' PyTorch classes of the same size.

  python -m benchmarks.encoders --names sam_vit_b siglip2_so400m_patch16_512 --repeats 3

One image forward in float32 with random weights, on a CPU. Both sides have a thread for each core
that the process may use and take turns; processor time is what a busy machine disturbs least. Takes
the `torch` extra.
"""

import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from flax import linen as nn

from benchmarks import harness
from rrsis_jax.models.backbones import encoders
from rrsis_jax.models.backbones.sam.network import Sam
from rrsis_jax.models.backbones.sam2.network import Sam2
from rrsis_jax.models.backbones.siglip.network import Siglip

NAMES = ("sam_vit_b", "sam2.1_hiera_large", "siglip2_so400m_patch16_512")
STAGES = 4  # of Hiera


def measure(network: nn.Module, repeats: int) -> dict[str, Any]:
    """Returns one row: processor seconds of both sides, medians.

    Args:
      network: of `encoders.build`, with a class in transformers.
      repeats: timed calls of each side, after one untimed.
    """
    ours, taken = in_jax(network)
    calls = {"JAX": ours, "PyTorch": in_torch(network)}
    rounds = harness.alternate(calls, repeats, time.process_time)
    used = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    return {
        "trace and compile s": taken,
        **{f"{name} processor s": seconds for name, seconds in used.items()},
        "PyTorch / JAX": used["PyTorch"] / used["JAX"],
    }


def in_jax(network: nn.Module) -> tuple[Callable[[], Any], float]:
    """Returns a call of this project's encoder, and the seconds of its trace and compilation."""
    shapes = flax.traverse_util.unflatten_dict(encoders.shapes(network), sep="/")
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: 0.02 * rng.standard_normal(x.shape, np.float32), shapes)
    side = network.image_size
    arguments = jax.device_put((variables, np.zeros((1, side, side, 3), np.float32)))
    encode = jax.jit(functools.partial(network.apply, method="encode_image"))
    start = time.perf_counter()
    compiled = encode.lower(*arguments).compile()
    taken = time.perf_counter() - start
    return lambda: jax.block_until_ready(compiled(*arguments)), taken


def in_torch(network: nn.Module) -> Callable[[], Any]:
    """Returns a call of transformers' class with the sizes of this project's.

    Raises:
      ValueError: if transformers has no class for it.
    """
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    module = _theirs(network).eval()
    image = torch.zeros(1, 3, network.image_size, network.image_size)

    def call() -> None:
        with torch.inference_mode():
            module(image)

    return call


def _theirs(network: nn.Module) -> Any:
    import transformers

    if isinstance(network, Sam):
        return transformers.SamVisionModel(
            transformers.SamVisionConfig(
                hidden_size=network.width,
                mlp_dim=network.mlp_dim,
                num_hidden_layers=network.depth,
                num_attention_heads=network.num_heads,
                image_size=network.image_size,
                patch_size=network.patch_size,
                window_size=network.window,
                global_attn_indexes=list(network.global_layers),
                output_channels=network.features,
            )
        )
    if isinstance(network, Sam2):
        widths = [network.embed_dim * 2**stage for stage in range(STAGES)]
        return transformers.Sam2VisionModel(
            transformers.Sam2VisionConfig(
                backbone_config=transformers.Sam2HieraDetConfig(
                    hidden_size=network.embed_dim,
                    num_attention_heads=network.num_heads,
                    image_size=[network.image_size] * 2,
                    blocks_per_stage=list(network.depths),
                    embed_dim_per_stage=widths,
                    num_attention_heads_per_stage=[
                        network.num_heads * 2**stage for stage in range(STAGES)
                    ],
                    window_size_per_stage=list(network.windows),
                    global_attention_blocks=list(network.global_blocks),
                    window_positional_embedding_background_size=[network.background] * 2,
                ),
                backbone_channel_list=widths[::-1],
                fpn_hidden_size=network.features,
            )
        )
    if isinstance(network, Siglip):
        return transformers.SiglipVisionModel(
            transformers.SiglipVisionConfig(
                hidden_size=network.width,
                intermediate_size=network.mlp_dim,
                num_hidden_layers=network.depth,
                num_attention_heads=network.num_heads,
                image_size=network.image_size,
                patch_size=network.patch_size,
            )
        )
    raise ValueError(
        f"transformers has no class for {type(network).__name__}; expected SAM, SAM 2 or SigLIP."
    )


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--names", nargs="+", default=list(NAMES), metavar="NAME", help="of published encoders"
    )
    arguments = parser.parse_args(argv)
    rows = [
        {"encoder": name, **measure(encoders.build(name), arguments.repeats)}
        for name in arguments.names
    ]
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()

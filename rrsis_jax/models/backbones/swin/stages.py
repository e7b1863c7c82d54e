"""Swin encoders in stages, between whose blocks and merging a paper puts its own."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.backbones.swin.network import PatchEmbed, PatchMerging, SwinBlock
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.types import Dtype, LayerTypes


class SwinStage(nn.Module):
    """What the stages of all encoders of this family share: Swin blocks first, merging last.

    A subclass says in `__call__(x, *text, train)` what lies between, and returns the map for the
    decoder and the trunk for the next stage.

    Attributes:
      num_heads: attention heads of the blocks.
      window: side of a window.
      drop_path: rate of each block; its length is the number of blocks.
      merge: whether the trunk is merged to half its size at the end.
      remat: whether blocks are recomputed in the backward pass.
      scan: whether a stage's pairs of blocks are compiled once and run in a loop.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    window: int
    drop_path: tuple[float, ...]
    merge: bool
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def run_blocks(self, x: jax.Array, train: bool) -> jax.Array:
        """Runs the stage's blocks: (B, H, W, C) to the same shape."""
        if self._scans():
            return self._scan_blocks(x, train)
        block_class = nn.remat(SwinBlock, static_argnums=(2,)) if self.remat else SwinBlock
        for index, rate in enumerate(self.drop_path):
            x = block_class(
                num_heads=self.num_heads,
                window=self.window,
                shifted=index % 2 == 1,
                drop_path=rate,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"blocks_{index}",
            )(x, train)
        return x

    def merged(self, trunk: jax.Array) -> jax.Array:
        """Merges the trunk (B, H, W, C) for the next stage; in the last stage it stays."""
        if not self.merge:
            return trunk
        return PatchMerging(self.dtype, self.param_dtype, name="downsample")(trunk)

    def _scans(self) -> bool:
        """Scans when there is more than one pair; parameters are made block by block."""
        depth = len(self.drop_path)
        return self.scan and depth >= 4 and depth % 2 == 0 and not self.is_initializing()

    def _scan_blocks(self, x: jax.Array, train: bool) -> jax.Array:
        """Runs pairs of plain and shifted block as one loop: (B, H, W, C) to the same shape.

        The parameters keep their place in the tree, one entry a block; they are stacked here.
        """
        dropping = train and any(self.drop_path)
        params = [self.variables["params"][f"blocks_{i}"] for i in range(len(self.drop_path))]
        stacked = [
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *params[parity::2]) for parity in (0, 1)
        ]
        rates = jnp.asarray(self.drop_path).reshape(-1, 2)
        keys = jax.random.split(self.make_rng("dropout"), rates.shape) if dropping else rates

        def run_pair(x: jax.Array, pair: tuple) -> tuple[jax.Array, None]:
            params, rates, keys = pair
            for parity in (0, 1):
                block = SwinBlock(
                    num_heads=self.num_heads,
                    window=self.window,
                    shifted=parity == 1,
                    drop_path=rates[parity] if dropping else 0.0,
                    dtype=self.dtype,
                    param_dtype=self.param_dtype,
                    parent=None,
                )
                rngs = {"dropout": keys[parity]} if dropping else None
                run: Any = functools.partial(block.apply, train=train, rngs=rngs)
                x = (jax.checkpoint(run) if self.remat else run)({"params": params[parity]}, x)
            return x, None

        x, _ = jax.lax.scan(run_pair, x, (tuple(stacked), rates, keys))
        return x


class StagedSwin(nn.Module):
    """Patch embedding, stages, and a layer norm of what each stage gives the decoder.

    A subclass calls `run_stages` with its stages.

    Attributes:
      embed_dim: channels of the first stage, doubled at each later one.
      depths: blocks of each stage.
      num_heads: attention heads of each stage.
      window: side of a window, in patches.
      drop_path_rate: rate of the last block; rates grow linearly from 0.
      remat: whether blocks are recomputed in the backward pass.
      scan: whether a stage's pairs of blocks are compiled once and run in a loop.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: int
    drop_path_rate: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def run_stages(
        self,
        stages: Sequence[Callable[..., SwinStage]],
        image: jax.Array,
        *text: Any,
        train: bool,
    ) -> tuple[jax.Array, ...]:
        """Encodes an image with its phrase.

        Args:
          stages: makes each stage from the fields of `SwinStage` and its name.
          image: normalised (B, H, W, 3).
          *text: what the stages take of the phrase.
          train: whether dropout and DropPath act.

        Returns:
          One map per stage, fine to coarse: (B, ceil(H / 4), ceil(W / 4), embed_dim), then half
          the sides (rounded up) and twice the channels at each step.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        rates = iter(np.linspace(0.0, self.drop_path_rate, sum(self.depths)).tolist())
        x = PatchEmbed(self.embed_dim, name="patch_embed", **types)(image)
        outputs = []
        for index, (make_stage, depth, heads) in enumerate(
            zip(stages, self.depths, self.num_heads, strict=True)
        ):
            stage = make_stage(
                num_heads=heads,
                window=self.window,
                drop_path=tuple(itertools.islice(rates, depth)),
                merge=index < len(self.depths) - 1,
                remat=self.remat,
                scan=self.scan,
                name=f"layers_{index}",
                **types,
            )
            fused, x = stage(x, *text, train=train)
            outputs.append(LayerNorm(name=f"norm{index}", **types)(fused))
        return tuple(outputs)

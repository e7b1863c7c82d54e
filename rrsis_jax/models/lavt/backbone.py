"""The language-aware encoder: Swin stages, each followed by pixel-word fusion and a gate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.backbones.swin.network import PatchEmbed, PatchMerging, SwinBlock
from rrsis_jax.models.lavt.fusion import LanguageGate, PixelWordAttention
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.types import Dtype


class SwinStage(nn.Module):
    """Swin blocks, fusion with the words, gate, and patch merging except in the last stage.

    Attributes:
      num_heads: attention heads of the blocks.
      window: side of a window.
      drop_path: rate of each block; its length is the number of blocks.
      merge: whether the trunk is merged to half its size at the end.
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
      remat: whether blocks are recomputed in the backward pass.
      scan: whether a stage's pairs of blocks are compiled once and run in a loop.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    window: int
    drop_path: tuple[float, ...]
    merge: bool
    fusion_heads: int = 1
    fusion_dropout: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, text_features: jax.Array, attention_mask: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the stage.

        Args:
          x: trunk (B, H, W, C).
          text_features: (B, N, D).
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout and DropPath act.

        Returns:
          The fused map (B, H, W, C), and the trunk for the next stage.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if self._scans():
            x = self._scan_blocks(x, train)
        else:
            block_class = nn.remat(SwinBlock, static_argnums=(2,)) if self.remat else SwinBlock
            for index, rate in enumerate(self.drop_path):
                x = block_class(
                    num_heads=self.num_heads,
                    window=self.window,
                    shifted=index % 2 == 1,
                    drop_path=rate,
                    name=f"blocks_{index}",
                    **types,
                )(x, train)
        fused = PixelWordAttention(self.fusion_heads, self.fusion_dropout, name="fusion", **types)(
            x, text_features, attention_mask, train
        )
        x = x + LanguageGate(name="gate", **types)(fused) * fused
        if self.merge:
            x = PatchMerging(name="downsample", **types)(x)
        return fused, x

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
                run = functools.partial(block.apply, train=train, rngs=rngs)
                x = (jax.checkpoint(run) if self.remat else run)({"params": params[parity]}, x)
            return x, None

        x, _ = jax.lax.scan(run_pair, x, (tuple(stacked), rates, keys))
        return x


class Backbone(nn.Module):
    """Multi-modal Swin transformer (LAVT, section 3.1).

    Attributes:
      embed_dim: channels of the first stage, doubled at each later one.
      depths: blocks of each stage.
      num_heads: attention heads of each stage.
      window: side of a window, in patches.
      drop_path_rate: rate of the last block; rates grow linearly from 0.
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
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
    fusion_heads: int = 1
    fusion_dropout: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, text_features: jax.Array, attention_mask: jax.Array, train: bool
    ) -> tuple[jax.Array, ...]:
        """Encodes an image with its phrase.

        Args:
          image: normalised (B, H, W, 3), of any size.
          text_features: (B, N, D).
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout and DropPath act.

        Returns:
          One map per stage, fine to coarse: (B, ceil(H / 4), ceil(W / 4), embed_dim), then half
          the sides (rounded up) and twice the channels at each step.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        rates = np.linspace(0.0, self.drop_path_rate, sum(self.depths)).tolist()
        x = PatchEmbed(self.embed_dim, name="patch_embed", **types)(image)
        outputs = []
        for stage, (depth, heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            start = sum(self.depths[:stage])
            fused, x = SwinStage(
                num_heads=heads,
                window=self.window,
                drop_path=tuple(rates[start : start + depth]),
                merge=stage < len(self.depths) - 1,
                fusion_heads=self.fusion_heads,
                fusion_dropout=self.fusion_dropout,
                remat=self.remat,
                scan=self.scan,
                name=f"layers_{stage}",
                **types,
            )(x, text_features, attention_mask, train)
            outputs.append(LayerNorm(name=f"norm{stage}", **types)(fused))
        return tuple(outputs)

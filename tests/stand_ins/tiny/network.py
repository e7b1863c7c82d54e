"""A convolution with batch statistics and the mean letter; a half-size image beside the image."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.types import Dtype


class TinyNetwork(nn.Module):
    """Log-odds (B, S, S) of one channel from images {"image": (B, S, S, 3), "context": half}."""

    width: int
    vocab_size: int
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        wide = wide_type(self.dtype)
        types = {"dtype": self.dtype, "param_dtype": wide}
        self.text_encoder = nn.Embed(self.vocab_size, self.width, **types)
        self.conv = nn.Conv(self.width, (3, 3), **types)
        self.norm = BatchNorm(axis_name=self.axis_name, **types)
        self.context_conv = nn.Conv(self.width, (3, 3), **types)
        self.context_head = nn.Dense(1, **types)
        self.decoder = nn.Dense(1, **types)
        # Frozen.
        self.scale = self.param("scale", nn.initializers.ones, (1, 1, 1, self.width), wide)

    def __call__(
        self, images: Tree, text: Tree, train: bool = False, arrays: Tree | None = None
    ) -> Outputs:
        image = self.encode_image(images, train)
        if arrays:
            image["coarse"] += arrays["context"][..., None] / 255.0
        return self.segment(image, self.encode_text(text, train), train)

    def encode_text(self, text: Tree, train: bool = False) -> Tree:
        del train
        letters = self.text_encoder(text["input_ids"]) * text["attention_mask"][..., None]
        return {"letters": letters.mean(axis=1)}

    def encode_image(self, images: Tree, train: bool = False) -> Tree:
        image, context = (normalize(images[name], self.dtype) for name in ("image", "context"))
        return {
            "fine": nn.relu(self.norm(self.conv(image), train)) * self.scale,
            "coarse": nn.relu(self.context_conv(context)),
        }

    def segment(self, image: Tree, text: Tree, train: bool = False) -> Outputs:
        """`aux` holds `context`, what the half-size image alone answers, (B, S / 2, S / 2)."""
        del train
        letters = text["letters"][:, None, None, :]
        coarse = jnp.repeat(jnp.repeat(image["coarse"], 2, axis=1), 2, axis=2)
        return Outputs(
            log_odds=_one_channel(self.decoder((image["fine"] + coarse) * letters)),
            aux={"context": _one_channel(self.context_head(image["coarse"] * letters))},
        )


def _one_channel(x: jax.Array) -> jax.Array:
    return at_least_float32(x[..., 0])

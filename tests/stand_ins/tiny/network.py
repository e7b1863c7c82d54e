"""A convolution with batch statistics and the mean letter; a half-size image beside the image."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.layers.images import normalize


class TinyNetwork(nn.Module):
    """Log-odds (B, S, S) of one channel from images {"image": (B, S, S, 3), "context": half}."""

    width: int
    vocab_size: int
    axis_name: str | None = None

    def setup(self) -> None:
        self.text_encoder = nn.Embed(self.vocab_size, self.width)
        self.conv = nn.Conv(self.width, (3, 3))
        self.norm = nn.BatchNorm(axis_name=self.axis_name)
        self.context_conv = nn.Conv(self.width, (3, 3))
        self.context_head = nn.Dense(1)
        self.decoder = nn.Dense(1)
        self.scale = self.param("scale", nn.initializers.ones, (1, 1, 1, self.width))  # frozen

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
        fine = self.norm(self.conv(normalize(images["image"])), use_running_average=not train)
        return {
            "fine": nn.relu(fine) * self.scale,
            "coarse": nn.relu(self.context_conv(normalize(images["context"]))),
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
    return x[..., 0].astype(jnp.float32)

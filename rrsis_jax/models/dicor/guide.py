"""The guide: where on the map a phrase's target may lie, and which place the phrase means."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.contract import Tree
from rrsis_jax.models.dicor import candidates
from rrsis_jax.models.dicor.candidates import Candidates
from rrsis_jax.models.layers.convolution import convolve_same
from rrsis_jax.models.layers.initializers import uniform_init, uniform_inits
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.types import Dtype, LayerTypes

EVIDENCE_WIDTH = 128
EVIDENCE_GROUPS = 32
RANKER_WIDTH = 256
GEOMETRY_WIDTH = 128
GEOMETRY_SHARE = 0.5  # of the score that geometry gives
FEATURE_GAIN = 0.5  # by which the winner's place strengthens the map
NO_SCORE = -1e4
FLOOR = 1e-6


@flax.struct.dataclass
class Guidance:
    """What the guide says of a map and a phrase.

    Attributes:
      evidence: (B, h, w), log-odds that a position is the target's.
      prior: (B, h, w), the probabilities that the candidates were found in.
      candidates: K places.
      geometry: (B, K, 5), see `candidates.geometry`.
      visual: (B, K, C), mean of the map over a place.
      content: (B, K), how far a place looks as the words say.
      position: (B, K), how far it lies as they say.
      scores: (B, K), of both.
      alpha: (B, K, N), how much each word counts for a place.
      winner: int32 (B,), the place with the highest score.
    """

    evidence: jax.Array
    prior: jax.Array
    candidates: Candidates
    geometry: jax.Array
    visual: jax.Array
    content: jax.Array
    position: jax.Array
    scores: jax.Array
    alpha: jax.Array
    winner: jax.Array

    def probabilities(self) -> jax.Array:
        """Returns (B, K), the share of each place; 0 of those that are not valid."""
        return jax.nn.softmax(self.scores, axis=1) * self.candidates.valid

    def winning(self, values: jax.Array) -> jax.Array:
        """Returns the winner's of values (B, K, …), (B, …)."""
        return jax.vmap(lambda own, place: own[place])(values, self.winner)

    def relative_map(self) -> jax.Array:
        """Returns the winner's map (B, h, w), 1 at its greatest."""
        winner = self.winning(self.candidates.maps)
        greatest = jnp.max(jax.lax.stop_gradient(winner), axis=(1, 2), keepdims=True)
        return winner / jnp.where(greatest > 0, greatest, 1.0)


class EvidenceHead(nn.Module):
    """Log-odds of each position of a map.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w), float32 or wider."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        for layer in (1, 2):
            x = nn.Conv(
                EVIDENCE_WIDTH,
                (3, 3),
                use_bias=False,
                kernel_init=uniform_init,
                conv_general_dilated=_convolve_same,
                name=f"conv{layer}",
                **types,
            )(x)
            norm = nn.GroupNorm(
                EVIDENCE_GROUPS,
                epsilon=1e-5,
                use_fast_variance=False,
                name=f"norm{layer}",
                **types,
            )
            x = exact_gelu(norm(x))
            self.sow("intermediates", f"hidden{layer}", x)
        classify = nn.Conv(1, (1, 1), name="classifier", **uniform_inits(x.shape[-1]), **types)
        return at_least_float32(classify(x)[..., 0])


def _convolve_same(x: jax.Array, kernel: jax.Array, *_: object, **__: object) -> jax.Array:
    """Has the signature that `nn.Conv` calls a convolution by."""
    return convolve_same(x, kernel)


class Ranker(nn.Module):
    """Scores places by the words: which words count for a place, and how well they fit it.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, visual: jax.Array, geometry: jax.Array, words: jax.Array, word_mask: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Scores places.

        Args:
          visual: (B, K, C).
          geometry: (B, K, 5).
          words: (B, N, D).
          word_mask: (B, N), nonzero on the words of the phrase.

        Returns:
          `content` (B, K), `position` (B, K) and `alpha` (B, K, N) of `Guidance`.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def dense(name: str, features: int, x: jax.Array) -> jax.Array:
            return nn.Dense(features, name=name, **uniform_inits(x.shape[-1]), **types)(x)

        def normed(name: str, x: jax.Array) -> jax.Array:
            return LayerNorm(name=f"{name}_norm", **types)(dense(name, RANKER_WIDTH, x))

        def scored(name: str, width: int, x: jax.Array) -> jax.Array:
            hidden = exact_gelu(dense(f"{name}_fc1", width, x))
            return dense(f"{name}_fc2", 1, hidden)[..., 0]

        # (B, K, N): the words' own route beside the place's.
        word_route = exact_gelu(normed("word_route", words))[:, None]
        place = jnp.concatenate([visual, geometry], axis=-1)
        place_route = exact_gelu(normed("place_route", place))[:, :, None]
        shape = (*visual.shape[:2], *word_route.shape[2:])
        routes = [jnp.broadcast_to(x, shape) for x in (word_route, place_route)]
        logits = scored("route", RANKER_WIDTH, jnp.concatenate(routes, axis=-1))
        alpha = _over_words(logits, word_mask)

        query = jnp.einsum("bkn,bnd->bkd", alpha, normed("word_query", words))
        seen, asked = normed("visual_content", visual), normed("query_content", query)
        content = _cosine(seen, asked)
        asked_place = jnp.concatenate([geometry, query], axis=-1)
        return content, scored("geometry", GEOMETRY_WIDTH, asked_place), alpha


def _over_words(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns weights (B, K, N) that sum to 1 over the words of `mask` (B, N)."""
    real = (mask > 0)[:, None]
    weights = jax.nn.softmax(jnp.where(real, logits, NO_SCORE), axis=-1) * real
    return weights / jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), FLOOR)


def _cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the cosine over the last axis; a vector of zeros has a gradient, too."""
    lengths = (jnp.maximum(jnp.sum(jnp.square(x), axis=-1), 1e-16) for x in (a, b))
    scale = functools.reduce(jnp.multiply, map(jax.lax.rsqrt, lengths))
    return jnp.sum(a * b, axis=-1) * scale


class Guide(nn.Module):
    """Finds the places that the map offers and ranks them by the words.

    Attributes:
      dtype: compute type of the evidence; the ranking is computed in float32 or wider.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, text: Tree, prior: jax.Array | None = None) -> Guidance:
        """Guides a map by a phrase.

        Args:
          x: (B, h, w, C), the third of the encoder's maps.
          text: "features" (B, N, D) and "word_mask" (B, N).
          prior: (B, h, w), probabilities to find the places in; None for the evidence's own.
        """
        wide = wide_type(self.dtype)
        evidence = EvidenceHead(self.dtype, self.param_dtype, name="evidence")(x)
        prior = jax.nn.sigmoid(evidence) if prior is None else prior.astype(wide)
        places = candidates.find(prior)
        shape = candidates.geometry(places)
        visual = jnp.einsum("bkhw,bhwc->bkc", places.maps, x.astype(wide))
        ranker = Ranker(wide, self.param_dtype, name="ranker")
        content, position, alpha = ranker(
            visual, shape, text["features"].astype(wide), text["word_mask"]
        )
        scores = jnp.where(places.valid, content + GEOMETRY_SHARE * position, NO_SCORE)
        return Guidance(
            evidence=evidence,
            prior=prior,
            candidates=places,
            geometry=shape,
            visual=visual,
            content=content,
            position=position,
            scores=scores,
            alpha=alpha,
            winner=jnp.argmax(scores, axis=1).astype(jnp.int32),
        )


def strengthen(x: jax.Array, guidance: Guidance) -> jax.Array:
    """Returns the map (B, h, w, C), greater where the winner lies."""
    return x * (1.0 + FEATURE_GAIN * guidance.relative_map()[..., None]).astype(x.dtype)


def word_scales(guidance: Guidance, word_mask: jax.Array) -> jax.Array:
    """Returns factors of the words (B, N): more of those that the winner was chosen by.

    Args:
      guidance: of the phrase.
      word_mask: (B, N), nonzero on the words of the phrase; the other tokens' factor is 1.
    """
    real = (word_mask > 0).astype(guidance.alpha.dtype)
    count = jnp.sum(real, axis=1, keepdims=True)
    alpha = guidance.winning(guidance.alpha) * real
    total = jnp.sum(alpha, axis=1, keepdims=True)
    even = real / jnp.maximum(count, 1.0)
    weights = jnp.where(total > FLOOR, alpha / jnp.maximum(total, FLOOR), even)
    share = jnp.mean(guidance.relative_map(), axis=(1, 2))[:, None]
    return 1.0 + (weights * count - 1.0) * share * real

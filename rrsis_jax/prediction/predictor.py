"""A trained model at work: images and expressions to probabilities, on all local devices.

Every program runs on the model's own square and on one of two batch sizes, so neither an image
of another size nor another number of expressions compiles anything anew.

An expression is encoded once and cached. A square is sent to the devices once, and all that no
expression touches is computed there once (`models.contract`: `encode_image`); each expression then
costs what the network computes of the pair.
"""

import collections
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from rrsis_jax import constants, errors
from rrsis_jax.data import transforms
from rrsis_jax.distributed import parallel
from rrsis_jax.models.contract import Tree
from rrsis_jax.prediction import image_files, limits, tiling, trained_model
from rrsis_jax.prediction.bundle import load
from rrsis_jax.prediction.trained_model import TrainedModel

_PER_DEVICE = 4  # squares a device computes at once unless told otherwise
_IN_FLIGHT = 2  # batches dispatched to the devices before the first result is awaited


@dataclasses.dataclass(frozen=True)
class EncodedPhrase:
    """An expression as the model reads it.

    Attributes:
      text: the expression.
      encoded: what `encode_text` makes of it, without the batch axis, on the host.
    """

    text: str
    encoded: Tree


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image.

    Attributes:
      expressions: the P expressions.
      probabilities: float32 (P, H, W) at the image's own resolution.
      masks: bool (P, H, W), where the probability is above the threshold.
    """

    expressions: tuple[str, ...]
    probabilities: np.ndarray
    masks: np.ndarray


class Predictor:
    """Segments what expressions refer to, in images of any size."""

    def __init__(self, model: TrainedModel, batch_size: int | None = None):
        """Copies the variables to the devices; programs are compiled when first needed.

        Args:
          model: made by `trained_model`, or read by `bundle`.
          batch_size: squares computed at once over all devices; 4 a device by default.

        Raises:
          ValueError: if the devices cannot share the batch equally.
        """
        devices = jax.local_device_count()
        self.batch_size = _PER_DEVICE * devices if batch_size is None else batch_size
        limits.check("batch_size", self.batch_size)
        parallel.check_batch_size("batch_size", self.batch_size)
        self.model = model
        self._small_batch = devices
        self._variables = parallel.replicate(model.variables)
        mapped = functools.partial(parallel.mapped, backend=model.backend)
        self._encode_text = mapped(model.encode_text)
        self._encode_image = mapped(model.encode_image)
        self._segment = mapped(model.segment)
        # A program of its own, so that `segment` is compiled for pairs only: whether their images
        # are one or many would double its programs.
        self._take = mapped(_take)
        self._phrases: dict[str, EncodedPhrase] = {}

    @classmethod
    def from_workdir(cls, workdir: pathlib.Path | str, batch_size: int | None = None):
        """Loads the best checkpoint of a run; `trained_model.from_workdir` says what it raises."""
        return cls(trained_model.from_workdir(workdir), batch_size)

    @classmethod
    def from_bundle(cls, bundle: pathlib.Path | str, batch_size: int | None = None):
        """Loads an exported bundle, from a folder or the hub; see `bundle.load`."""
        return cls(load(bundle), batch_size)

    @classmethod
    def from_weights(
        cls,
        source: pathlib.Path | str,
        config: ml_collections.ConfigDict,
        batch_size: int | None = None,
    ):
        """Loads published or imported weights; see `trained_model.from_weights`."""
        return cls(trained_model.from_weights(source, config), batch_size)

    def predict(
        self,
        image: Any,
        expressions: Iterable[str],
        *,
        tiled: bool = False,
        overlap: float = constants.DEFAULT_OVERLAP,
        threshold: float = constants.DEFAULT_THRESHOLD,
        allow_unread: bool = False,
    ) -> Prediction:
        """Segments one image that fits into memory; `scene_job.segment` is for those that don't.

        By default the whole image is resized to the model's square, as in training, and the
        log-odds are resized back. That suits images that show as much ground as the training
        images. `tiled` takes a pixel for a pixel and blends overlapping squares instead.

        Args:
          image: uint8 (H, W, 3), or the path of a PNG, JPEG or other plain image, or any other
            form that `image_files.take` knows. Where it is transparent the probability is 0.
          expressions: what to segment.
          tiled: whether to cut the image into squares rather than resize it.
          overlap: least overlap of neighbouring squares, as a fraction of their side.
          threshold: probability above which a pixel belongs to the mask.
          allow_unread: see `encode`.

        Raises:
          ValueError: if the image cannot be read or is not RGB of 8 bits, is transparent
            altogether, or a setting or an expression cannot be used.
        """
        limits.check("threshold", threshold)
        limits.check("overlap", overlap)
        pixels, visible = image_files.take(image)
        if not visible.any():
            raise ValueError("The image is transparent altogether: there is nothing to segment.")
        phrases = self.encode(expressions, allow_unread)
        pixels = np.where(visible[..., None], pixels, np.array(constants.VOID, np.uint8))
        probabilities = (
            self._blended(pixels, phrases, overlap) if tiled else self._resized(pixels, phrases)
        )
        probabilities = np.where(visible, probabilities, np.float32(0.0))
        masks = visible & (probabilities > threshold)
        return Prediction(tuple(phrase.text for phrase in phrases), probabilities, masks)

    def encode(self, expressions: Iterable[str], allow_unread: bool = False) -> list[EncodedPhrase]:
        """Encodes expressions, each only once in the life of the predictor.

        A warning names the words of each expression that the model does not read, because its
        vocabulary lacks them or its word positions end before them.

        Args:
          expressions: what to segment.
          allow_unread: whether to encode expressions of which no word is read; all of them give
            one and the same map.

        Raises:
          ValueError: if there is no expression, one has no word, or none that is read.
        """
        texts = _texts(expressions)
        for text in texts:
            self._check_read(text, allow_unread)
        return [self._encoded(text) for text in texts]

    def log_odds(
        self, squares: Iterable[np.ndarray], phrases: Sequence[EncodedPhrase]
    ) -> Iterator[np.ndarray]:
        """Computes all expressions on squares, several batches ahead of their use.

        Args:
          squares: uint8 (tile, tile, 3).
          phrases: P encoded expressions.

        Yields:
          float32 (P, tile, tile) for each square, in order.
        """
        results = _ahead(self._started(squares, phrases))
        while pieces := list(itertools.islice(results, len(phrases))):
            yield np.stack(pieces)

    def probabilities(
        self, squares: Iterable[tuple[int, np.ndarray]], phrases: Sequence[EncodedPhrase]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Does what `log_odds` does for numbered squares.

        Args:
          squares: numbers of the caller's choice with uint8 (tile, tile, 3) pixels.
          phrases: P encoded expressions.

        Yields:
          The number and the float32 (P, tile, tile) probabilities of each square, in order.
        """
        numbers: collections.deque[int] = collections.deque()

        def pixels() -> Iterator[np.ndarray]:
            for number, square in squares:
                numbers.append(number)
                yield square

        for log_odds in self.log_odds(pixels(), phrases):
            yield numbers.popleft(), probability(log_odds)

    def _check_read(self, text: str, allow_unread: bool) -> None:
        """Names, once, what the model does not read of an expression; refuses it without the rest.

        Raises:
          ValueError: if nothing of it is read and `allow_unread` is false.
        """
        words, new = self.model.tokenizer, text not in self._phrases
        cut = words.cut_words(text)
        if cut and new:
            logging.warning(
                "The expression %r is longer than the model's %d tokens: %r is not read.",
                text,
                words.max_tokens,
                cut,
            )
        unread = words.unread_words(text)
        rest = text.strip().removesuffix(cut)
        for word in sorted(unread, key=len, reverse=True):
            rest = rest.replace(word, " ")
        if unread and not allow_unread and not any(letter.isalnum() for letter in rest):
            raise ValueError(
                f"The model's vocabulary has no word of {text!r}, so its map would mean nothing. "
                "Say it in words of the training phrases, or ask for the map all the same "
                "(--allow-unread; in Python allow_unread=True)."
            )
        if unread and new:
            logging.warning(
                "The model's vocabulary does not have these words of %r: %s.",
                text,
                errors.listing([repr(word) for word in unread], 20),
            )

    def _encoded(self, text: str) -> EncodedPhrase:
        if text not in self._phrases:
            tokens = self.model.tokenizer(text)
            batch = jax.tree.map(
                lambda x: np.broadcast_to(x, (self._small_batch, 1, *x.shape)), tokens
            )
            encoded = self._encode_text(self._variables, batch)
            first = jax.tree.map(lambda x: np.asarray(x[0, 0]), encoded)
            self._phrases[text] = EncodedPhrase(text, first)
        return self._phrases[text]

    def _started(
        self, squares: Iterable[np.ndarray], phrases: Sequence[EncodedPhrase]
    ) -> Iterator[tuple[list[jax.Array], list[tuple[int, int, int]]]]:
        """Starts computing the (square, phrase) pairs of batch after batch of squares.

        Yields:
          Log-odds (devices, n, tile, tile) on the devices, a few such arrays for each batch of
          squares; and for each pair, squares in order, the array, device and row of its result.
        """
        devices = self._small_batch
        for chunk in _chunks(squares, self.batch_size):
            share = self._share(len(chunk))
            encoded = self._encode_image(self._variables, self._images(chunk, share))
            # A device works on the squares that it holds; a single square is held by all.
            queues: list[list] = [[] for _ in range(devices)]
            places = []
            pairs = itertools.product(range(len(chunk)), phrases)
            for number, (square, phrase) in enumerate(pairs):
                device = number % devices if len(chunk) == 1 else square // share
                places.append((device, len(queues[device])))
                queues[device].append((square % share, phrase))
            size = self._share(max(map(len, queues)) * devices)
            results = self._segmented(encoded, queues, size)
            yield results, [(k // size, device, k % size) for device, k in places]

    def _segmented(self, encoded: Tree, queues: list[list], size: int) -> list[jax.Array]:
        """Segments each device's queue of (row of `encoded`, phrase), `size` at a time."""
        results = []
        anything = next(filter(None, queues))
        for start in range(0, max(map(len, queues)), size):
            parts = [_filled(queue[start : start + size], anything, size) for queue in queues]
            rows = np.array([[row for row, _ in part] for part in parts], np.int32)
            text = _stacked([_stacked([p.encoded for _, p in part]) for part in parts])
            results.append(self._segment(self._variables, self._take(encoded, rows), text))
        return results

    def _share(self, count: int) -> int:
        """Returns how many of `count` a device takes at once: one, or its full share."""
        return 1 if count <= self._small_batch else self.batch_size // self._small_batch

    def _images(self, squares: list[np.ndarray], share: int) -> Tree:
        """Returns {name: uint8 (devices, share, s, s, 3)}, filled up with the last square."""
        filled = squares + squares[-1:] * (self._small_batch * share - len(squares))
        return parallel.shard(
            {
                name: np.stack([transforms.resize_image(x, image.size) for x in filled])
                for name, image in self.model.inputs.images.items()
            }
        )

    def _resized(self, pixels: np.ndarray, phrases: list[EncodedPhrase]) -> np.ndarray:
        """Returns float32 (P, H, W) probabilities of an image that is resized as a whole."""
        square = transforms.resize_image(pixels, self.model.tile)
        (margins,) = self.log_odds([square], phrases)
        own = pixels.shape[:2]
        return np.stack([probability(transforms.resize_margin(x, own)) for x in margins])

    def _blended(
        self, pixels: np.ndarray, phrases: list[EncodedPhrase], overlap: float
    ) -> np.ndarray:
        """Returns float32 (P, H, W) probabilities of blended squares."""
        tile = self.model.tile
        rows, columns = (tiling.make_axis(size, tile, overlap) for size in pixels.shape[:2])
        blender = tiling.Blender(rows, columns, len(phrases))
        places = [(r, c) for r in range(len(rows.starts)) for c in range(len(columns.starts))]
        squares = (
            (number, tiling.cut(pixels, rows.starts[r], columns.starts[c], tile))
            for number, (r, c) in enumerate(places)
        )
        bands = []
        for number, layers in self.probabilities(squares, phrases):
            row, column = places[number]
            for layer, values in enumerate(layers):
                blender.add(layer, row, column, values)
            if column == len(columns.starts) - 1:
                bands.append(blender.finish_row(row))
        return np.concatenate(bands, axis=1)


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Returns the logistic function of float32 log-odds."""
    return 0.5 + 0.5 * np.tanh(0.5 * log_odds)


def _texts(expressions: Iterable[str]) -> list[str]:
    """Returns expressions as a list.

    Raises:
      ValueError: if they are none.
    """
    try:
        texts = [] if isinstance(expressions, str | bytes) else list(expressions)
    except TypeError:  # nothing to go through
        texts = []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"Expected a list of expressions, like ['tree'], got {expressions!r:.80}.")
    return [str(text) for text in texts]


def _chunks(items: Iterable, size: int) -> Iterator[list]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _take(tree: Tree, rows: jax.Array) -> Tree:
    """Returns the rows (n,) of arrays (b, …)."""
    return jax.tree.map(lambda x: x[rows], tree)


def _stacked(trees: list[Tree]) -> Tree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _filled(part: list, anything: list, size: int) -> list:
    """Returns a list of exactly `size`, filled up with its last item, or any where it has none."""
    return part + (part[-1:] or anything[:1]) * (size - len(part))


def _ahead(
    started: Iterator[tuple[list[jax.Array], list[tuple[int, int, int]]]],
) -> Iterator[np.ndarray]:
    """Fetches results in order, several batches after they were started."""
    waiting: collections.deque = collections.deque()
    for batch in started:
        waiting.append(batch)
        if len(waiting) >= _IN_FLIGHT:
            yield from _fetch(*waiting.popleft())
    for batch in waiting:
        yield from _fetch(*batch)


def _fetch(results: list[jax.Array], places: list[tuple[int, int, int]]) -> Iterator[np.ndarray]:
    """Yields float32 (tile, tile) of each place (array, device, row)."""
    on_host = [np.asarray(result) for result in results]
    yield from (on_host[array][device, row] for array, device, row in places)

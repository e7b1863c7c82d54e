"""A trained model as one folder that runs without this package's models or configs.

The folder holds three programs serialised by `jax.export` (StableHLO, any batch size, for CPU,
CUDA and TPU), the weights as safetensors, the tokenizer, `metadata.json`, and `SHA256SUMS` over
all of them. `Predictor.from_bundle` reads it. Nothing in it is pickled.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from rrsis_jax import constants, io
from rrsis_jax.data import tokenizers
from rrsis_jax.data.inputs import ImageInput, Inputs
from rrsis_jax.hub_address import CARD
from rrsis_jax.prediction import model_checks, run_facts
from rrsis_jax.prediction.trained_model import TrainedModel
from rrsis_jax.weights import hub, sources, variable_folder

PLATFORMS = ("cpu", "cuda", "tpu")
_CHECKSUMS_FILE = "SHA256SUMS"
_PROGRAMS = ("encode_text", "encode_image", "segment")  # the first attributes of TrainedModel


def save(model: TrainedModel, folder: pathlib.Path | str) -> None:
    """Writes a bundle.

    Args:
      model: made by `trained_model.from_workdir` or `from_weights`.
      folder: new or empty.

    Raises:
      ValueError: if the folder holds something already.
    """
    folder = pathlib.Path(folder)
    model_checks.check_new_bundle(folder)
    metadata = {
        "format": model_checks.BUNDLE_FORMAT,
        "inputs": _described(model.inputs),
        "tokenizer": tokenizers.described(model.tokenizer),
        "ground_sampling_distance": model.gsd,
        "platforms": PLATFORMS,
        "jax": jax.__version__,
        "weights_sha256": model.digest(),
        "facts": run_facts.public(model.facts),
    }
    with io.replacing_folder(folder.absolute()) as new:
        for name, arguments in _arguments(model).items():
            program = jax.export.export(jax.jit(getattr(model, name)), platforms=PLATFORMS)
            _program_file(new, name).write_bytes(program(*arguments).serialize())
        variable_folder.save(new, model.variables)
        model.tokenizer.save(new / constants.TOKENIZER_FOLDER)
        (new / model_checks.BUNDLE_METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")
        (new / _CHECKSUMS_FILE).write_text(_checksums(new))


def load(folder: pathlib.Path | str) -> TrainedModel:
    """Reads a bundle.

    Args:
      folder: that `save` wrote, or its address on the hub, see `hub_address`.

    Raises:
      ValueError: if the folder is no complete bundle, or is damaged, or of a newer format.
    """
    source = sources.find_listed(folder, _CHECKSUMS_FILE)
    folder = source.path.parent
    metadata = check(folder)
    facts = metadata.get("facts", {})
    origin = {**source.record(), "made_from": facts.get("sources", [])}
    return TrainedModel(
        *(_read_program(folder, name) for name in _PROGRAMS),
        variables=variable_folder.load(folder),
        tokenizer=tokenizers.load(folder / constants.TOKENIZER_FOLDER, metadata["tokenizer"]),
        inputs=_inputs(metadata["inputs"]),
        gsd=metadata["ground_sampling_distance"],
        facts={**facts, "sources": [origin]},
    )


def check(folder: pathlib.Path | str) -> dict[str, Any]:
    """Returns what a bundle says of itself.

    Raises:
      ValueError: if the folder is no complete bundle, or is damaged, or of a newer format.
    """
    metadata = model_checks.read_bundle_metadata(folder)
    _check_files(pathlib.Path(folder))
    return metadata


def files(folder: pathlib.Path | str) -> dict[str, pathlib.Path]:
    """Returns the files of a bundle by their names in it, without hidden ones and a card."""
    folder = pathlib.Path(folder)
    paths = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths if path != folder / CARD}


def _arguments(model: TrainedModel) -> dict[str, tuple]:
    """Returns the shapes and types that each program takes, with a symbolic batch size."""
    scope = jax.export.SymbolicScope()

    def batch_of(shape: Sequence[int], dtype: np.dtype) -> jax.ShapeDtypeStruct:
        sides = ", ".join(("b", *map(str, shape)))
        return jax.ShapeDtypeStruct(jax.export.symbolic_shape(sides, scope=scope), dtype)

    variables = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), model.variables)
    text = jax.tree.map(lambda x: batch_of(x.shape, x.dtype), model.tokenizer("tree"))
    images = {
        name: batch_of((image.size, image.size, 3), jnp.uint8)
        for name, image in model.inputs.images.items()
    }
    encoded = (
        jax.eval_shape(model.encode_image, variables, images),
        jax.eval_shape(model.encode_text, variables, text),
    )
    return {
        "encode_text": (variables, text),
        "encode_image": (variables, images),
        "segment": (variables, *encoded),
    }


def _described(inputs: Inputs) -> dict[str, Any]:
    """Returns what a prediction needs of the inputs; stored rows are training's."""
    images = {name: dataclasses.asdict(image) for name, image in inputs.images.items()}
    return {"images": images, "target_size": inputs.target_size, "fill": inputs.fill}


def _inputs(described: Mapping[str, Any]) -> Inputs:
    """Undoes `_described`."""
    images = {name: ImageInput(**image) for name, image in described["images"].items()}
    return Inputs(images, described["target_size"], tuple(described["fill"]))


def _program_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"{name}.jax_export"


def _checksums(folder: pathlib.Path) -> str:
    """Returns the SHA-256 of every file of a bundle, as `sha256sum` prints it."""
    return "".join(
        f"{hub.sha256(path)}  {name}\n"
        for name, path in files(folder).items()
        if name != _CHECKSUMS_FILE
    )


def _check_files(folder: pathlib.Path) -> None:
    """Refuses a bundle that changed; deserialising a damaged program can end the process."""
    path = folder / _CHECKSUMS_FILE
    wanted = path.read_bytes() if path.is_file() else b""
    changed = set(wanted.splitlines()) ^ set(_checksums(folder).encode().splitlines())
    if changed:
        names = sorted({line.decode(errors="replace")[66:] for line in changed})
        raise ValueError(
            f"{folder} is not the bundle that was exported; changed, missing or added: "
            f"{', '.join(names[:5])}. Export it anew."
        )


def _read_program(folder: pathlib.Path, name: str) -> Callable:
    path = _program_file(folder, name)
    try:
        return jax.export.deserialize(bytearray(path.read_bytes())).call
    except Exception as error:  # flatbuffers and jax each raise their own kinds
        raise ValueError(f"{path} cannot be read: {error}. Export the bundle anew.") from error

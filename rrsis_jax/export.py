"""Exports a trained model as one folder that runs without this package's models or configs.

  python -m rrsis_jax.export --workdir runs/lgce --output bundle/

The folder holds two programs serialised by `jax.export` (StableHLO, any batch size, for CPU,
CUDA and TPU), the weights as safetensors, the tokenizer, and `metadata.json`.
`Predictor.from_bundle` reads it. Nothing in it is pickled.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from rrsis_jax import checkpoints, constants, tile_model
from rrsis_jax.data import tokenizer
from rrsis_jax.tile_model import TileModel

FORMAT = 1  # raised when a reader of today could not read a bundle any more
PLATFORMS = ("cpu", "cuda", "tpu")
_METADATA_FILE = "metadata.json"
_PROGRAMS = ("encode_text", "log_odds")  # also the attributes of TileModel


def save(model: TileModel, folder: pathlib.Path | str) -> None:
    """Writes a bundle.

    Args:
      model: made by `tile_model.from_workdir` or `from_import`.
      folder: new or empty.

    Raises:
      ValueError: if the folder holds something already.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already. Choose a new --output.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in _arguments(model).items():
        program = jax.export.export(jax.jit(getattr(model, name)), platforms=PLATFORMS)
        _program_file(folder, name).write_bytes(program(*arguments).serialize())
    checkpoints.save_variables(folder, model.variables)
    model.tokenizer.save(folder / constants.TOKENIZER_FOLDER)
    metadata = {
        "format": FORMAT,
        "tile": model.tile,
        "max_tokens": model.tokenizer.max_tokens,
        "text_width": model.text_width,
        "ground_sampling_distance": model.gsd,
        "platforms": PLATFORMS,
        "jax": jax.__version__,
        "weights_sha256": model.digest(),
    }
    # Written last: a folder with metadata is complete.
    (folder / _METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")


def load(folder: pathlib.Path | str) -> TileModel:
    """Reads a bundle.

    Raises:
      ValueError: if the folder is no complete bundle, or is damaged, or of a newer format.
    """
    folder = pathlib.Path(folder)
    metadata = _read_metadata(folder)
    programs = {name: _read_program(folder, name) for name in _PROGRAMS}
    model = TileModel(
        **programs,
        variables=checkpoints.load_variables(folder),
        tokenizer=tokenizer.load(str(folder / constants.TOKENIZER_FOLDER), metadata["max_tokens"]),
        tile=metadata["tile"],
        text_width=metadata["text_width"],
        gsd=metadata["ground_sampling_distance"],
    )
    if model.digest() != metadata["weights_sha256"]:
        raise ValueError(f"The weights in {folder} are not those of its metadata. Export it anew.")
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` default to those of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m rrsis_jax.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", required=True, help="folder of a trained run")
    parser.add_argument("--output", required=True, help="new folder of the bundle")
    options = parser.parse_args(arguments)
    save(tile_model.from_workdir(options.workdir), options.output)
    print(f"Exported to {options.output}.")


def _arguments(model: TileModel) -> dict[str, tuple]:
    """Returns the shapes and types that each program takes, with a symbolic batch size."""
    tile, tokens = model.tile, model.tokenizer.max_tokens
    scope = jax.export.SymbolicScope()

    def batch_of(shape: Sequence[int], dtype: np.dtype) -> jax.ShapeDtypeStruct:
        sides = ", ".join(("b", *map(str, shape)))
        return jax.ShapeDtypeStruct(jax.export.symbolic_shape(sides, scope=scope), dtype)

    variables = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), model.variables)
    ids, mask = (batch_of((tokens,), jnp.int32) for _ in range(2))
    images = batch_of((tile, tile, 3), jnp.uint8)
    features = batch_of((tokens, model.text_width), jnp.float32)
    return {
        "encode_text": (variables, ids, mask),
        "log_odds": (variables, images, features, mask),
    }


def _program_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"{name}.jax_export"


def _read_metadata(folder: pathlib.Path) -> dict:
    path = folder / _METADATA_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} is no complete bundle: there is no {_METADATA_FILE} in it. Make one with "
            "`python -m rrsis_jax.export`."
        )
    try:
        metadata = json.loads(path.read_text())
        found = metadata["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the description of a bundle: {error}.") from error
    if found != FORMAT:
        raise ValueError(
            f"{folder} is a bundle of format {found}, this version reads {FORMAT}. Export it anew."
        )
    return metadata


def _read_program(folder: pathlib.Path, name: str) -> Callable:
    path = _program_file(folder, name)
    try:
        return jax.export.deserialize(bytearray(path.read_bytes())).call
    except Exception as error:  # flatbuffers and jax each raise their own kinds
        raise ValueError(f"{path} cannot be read: {error}. Export the bundle anew.") from error


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as problem:
        sys.exit(f"Error: {problem}")

"""Cases of what makes a model ready for use: exported bundles and tokenizers."""

import pathlib
import shutil
from typing import Any

import numpy as np

from tests.stress.fuzz_case import Case, damaged, damaged_json, expect, pick


def small_model() -> Any:
    """Returns a model of two lines."""
    import jax.numpy as jnp

    from rrsis_jax.data.inputs import MAIN, ImageInput, Inputs
    from rrsis_jax.prediction import trained_model

    return trained_model.TrainedModel(
        encode_text=lambda variables, text: text,
        encode_image=lambda variables, images: jnp.mean(images[MAIN].astype(jnp.float32), axis=-1),
        segment=lambda variables, image, text: variables["gain"] * image,
        variables={"gain": np.full((1, 1, 1), 9.0, np.float32)},
        tokenizer=_tokenizer(),
        inputs=Inputs({MAIN: ImageInput(8)}, target_size=8),
        gsd=None,
    )


def save_bundle(folder: pathlib.Path) -> pathlib.Path:
    """Exports a small model."""
    from rrsis_jax.prediction.bundle import save

    save(small_model(), folder / "bundle")
    return folder / "bundle"


def _tokenizer() -> Any:
    from rrsis_jax.data.tokenizers import wordpiece

    return wordpiece.train(["red car", "tree along the road", "building"], 256, 8)


def bundles_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Exported bundles."""
    from rrsis_jax.prediction.bundle import load

    bundle = folder / "bundle"
    shutil.copytree(material, bundle)
    label = _spoil_folder(rng, bundle)

    def check(found: Any) -> None:
        expect(found.tile == 8, "another model")

    return Case(label, lambda: load(bundle), ("bundle",), check if label == "nothing" else None)


def _spoil_folder(rng: np.random.Generator, folder: pathlib.Path) -> str:
    """Changes, removes, swaps or adds a file in a folder; says what."""
    kind = str(rng.choice(["damage", "json", "delete", "swap", "add", "nothing"]))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, other = pick(rng, files), pick(rng, files)
    match kind:
        case "json":
            path = pick(rng, [file for file in files if file.suffix == ".json"])
            how, content = damaged_json(rng, path.read_text())
            path.write_bytes(content)
            return f"json {path.name} {how}"
        case "delete":
            path.unlink()
            return f"delete {path.name}"
        case "swap":
            contents = path.read_bytes(), other.read_bytes()
            if contents[0] == contents[1]:
                return "nothing"
            path.write_bytes(contents[1])
            other.write_bytes(contents[0])
            return f"swap {path.name} {other.name}"
        case "add":
            (path.parent / "more.json").write_text("{}")
            return "add more.json"
        case "damage":
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            return f"damage {path.name} {how}"
        case _:
            return kind


def tokenizers_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Folders of tokenizers."""
    from rrsis_jax.data.tokenizers import wordpiece

    shutil.copytree(material, folder / "tokenizer")
    label = _spoil_folder(rng, folder / "tokenizer")

    def call() -> Any:
        found = wordpiece.load(str(folder / "tokenizer"), 8)
        return found, found("tree along the road, a red car")

    def check(found: Any) -> None:
        words, tokens = found
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        expect(ids.shape == mask.shape == (8,) and ids.dtype == np.int32, "no ids")
        expect(bool((ids >= 0).all() and (ids < words.vocab_size).all()), f"ids {ids}")
        expect(bool(((ids != 0) <= (mask == 1)).all()), f"ids without mask: {ids} {mask}")

    return Case(label, call, (str(folder / "tokenizer"),), check)


def save_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    """Saves a small tokenizer."""
    _tokenizer().save(folder / "tokenizer")
    return folder / "tokenizer"

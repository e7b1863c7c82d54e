"""Cases of weights: safetensors, PyTorch's files, imported folders."""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.stress.fuzz_case import Case, damaged, damaged_json, expect, pick
from tests.stress.fuzz_images import special_file

WEIGHTS = {
    "stem.weight": np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32),
    "stem.bias": np.arange(3, dtype=np.float32),
    "norm.weight": np.ones(5, np.float32),
}


def import_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a file of weights and carries it into a small model."""
    import jax

    from rrsis_jax.weights import mapping, state_dicts

    rules = [
        *mapping.linear("stem", "params/stem"),
        mapping.Rule("norm.weight", "params/norm/scale"),
    ]
    expected = {
        "params/stem/kernel": jax.ShapeDtypeStruct((4, 3), np.float32),
        "params/stem/bias": jax.ShapeDtypeStruct((3,), np.float32),
        "params/norm/scale": jax.ShapeDtypeStruct((5,), np.float32),
    }
    return mapping.import_weights(state_dicts.read_state_dict(path), rules, [], expected)[0]


def check_weights(exact: bool) -> Callable[[dict[str, np.ndarray]], None]:
    """Returns the check of imported weights: equal to the written ones, or at least numbers."""

    def check(found: dict[str, np.ndarray]) -> None:
        wanted = {
            "params/stem/kernel": WEIGHTS["stem.weight"].T,
            "params/stem/bias": WEIGHTS["stem.bias"],
            "params/norm/scale": WEIGHTS["norm.weight"],
        }
        expect(found.keys() == wanted.keys(), "the names are others")
        for name, values in wanted.items():
            expect(found[name].shape == values.shape, f"the shape of {name}")
            expect(bool(np.isfinite(found[name]).all()), f"{name} is not finite")
            close = np.allclose(found[name], values, rtol=1e-2)
            expect(close or not exact, f"the values of {name}")

    return check


def safetensors_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Weights as safetensors."""
    import safetensors.numpy

    path = folder / "weights.safetensors"
    label = str(rng.choice(["header", "bytes", "type", "content", "size"]))
    weights, check = dict(WEIGHTS), check_weights(exact=False)
    match label:
        case "type":
            kind = pick(rng, [np.float16, np.float64, np.float32, np.int32, np.uint8, bool])
            weights = {name: x.astype(kind) for name, x in weights.items()}
            label += f" {kind.__name__}"
            check = check_weights(exact=True) if np.dtype(kind).kind == "f" else None
        case "content":
            check = _spoil(rng, weights)
    content = safetensors.numpy.save(weights)
    length = int.from_bytes(content[:8], "little")
    match label:
        case "header":
            how, header = damaged_json(rng, content[8 : 8 + length].decode())
            content = len(header).to_bytes(8, "little") + header + content[8 + length :]
            label += f" {how}"
        case "bytes":
            how, content = damaged(rng, content)
            label += f" {how}"
        case "size":
            declared = pick(rng, [0, 1, length - 1, length + 1, 2**63, 2**64 - 1, 10**12])
            content = declared.to_bytes(8, "little") + content[8:]
            label += f" {declared}"
    path.write_bytes(content)
    return Case(label, lambda: import_weights(path), (path.name, *WEIGHTS, "weights do not"), check)


def _spoil(rng: np.random.Generator, weights: dict[str, Any]) -> None:
    """Makes weights that no model can take."""
    kind = pick(rng, ["nan", "inf", "missing", "unknown", "shape", "empty", "scalar"])
    name = pick(rng, list(weights))
    match kind:
        case "nan" | "inf":
            weights[name] = weights[name].copy()
            weights[name].flat[0] = float(kind)
        case "missing":
            del weights[name]
        case "unknown":
            weights[pick(rng, ["ghost", "", "../x", "a\0b", "ж" * 500])] = np.ones(2, np.float32)
        case "shape":
            weights[name] = np.zeros((2, *weights[name].shape), np.float32)
        case "empty":
            weights.clear()
        case _:
            weights[name] = np.zeros((), np.float32)


class Evil:
    """Unpickled, it runs whatever it is told."""

    def __init__(self, function: Callable, *arguments: Any):
        """Takes what to run."""
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def torch_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Weights as PyTorch writes them, and as attackers do."""
    import io
    import pickle
    import zipfile

    import torch

    path = folder / pick(rng, ["weights.pth", "weights.pt", "weights.bin"])
    label = str(rng.choice(["code", "bytes", "wrap", "odd", "content", "type", "zip"]))
    tensors = {name: torch.from_numpy(x) for name, x in WEIGHTS.items()}
    check = None
    match label:
        case "code":
            canary = folder.parent / "canary"
            evil = pick(
                rng,
                [
                    Evil(os.system, f"touch {canary}"),
                    Evil(eval, f"open({str(canary)!r}, 'w')"),
                    Evil(exec, f"open({str(canary)!r}, 'w')"),
                    Evil(pathlib.Path.touch, canary),
                    Evil(open, str(canary), "w"),
                    Evil(getattr, pathlib.Path, "touch"),
                ],
            )
            content = pick(rng, [evil, {"model": evil}, {**tensors, "x": evil}, [evil], {evil: 1}])
            if rng.random() < 0.5:
                path.write_bytes(pickle.dumps(content, protocol=int(rng.integers(5))))
            else:
                torch.save(content, path, _use_new_zipfile_serialization=bool(rng.integers(2)))
        case "bytes":
            torch.save(tensors, path, _use_new_zipfile_serialization=bool(rng.integers(2)))
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            label, check = f"bytes {how}", check_weights(exact=False)
        case "wrap":
            prefixed = {f"module.{name}": x for name, x in tensors.items()}
            wrapped = [{"model": tensors}, {"state_dict": prefixed}, prefixed]
            wrapped += [{"model": prefixed, "epoch": 3, "optimizer": {}}]
            torch.save(pick(rng, wrapped), path)
            check = check_weights(exact=True)
        case "odd":
            odd = {
                "integers as names": {1: tensors["stem.bias"]},
                "tuples as names": {("a", 1): tensors["stem.bias"]},
                "section of another kind": {"model": [1, 2]},
                "nothing": {},
                "none": None,
                "number": 3.0,
                "text": "weights",
                "a tensor": tensors["stem.bias"],
                "nested": {"model": {"model": tensors}},
                "empty section": {"model": {}},
                "sparse": {**tensors, "stem.bias": tensors["stem.bias"].to_sparse()},
                "meta": {**tensors, "stem.bias": torch.empty(3, device="meta")},
                "strings": {"stem.bias": "x"},
            }
            label = pick(rng, list(odd))
            torch.save(odd[label], path)
        case "content":
            weights = dict(WEIGHTS)
            _spoil(rng, weights)
            torch.save({name: torch.from_numpy(np.array(x)) for name, x in weights.items()}, path)
        case "type":
            kinds = [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn]
            kinds += [torch.int64, torch.bool, torch.complex64]
            kind = pick(rng, kinds)
            torch.save({name: x.to(kind) for name, x in tensors.items()}, path)
            label += f" {kind}"
            if kind in (torch.float16, torch.bfloat16, torch.float64):
                check = check_weights(exact=True)
            elif kind is torch.float8_e4m3fn:
                check = check_weights(exact=False)
        case _:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(pick(rng, ["../canary", "/canary", "archive/data.pkl", "x"]), b"x")
            path.write_bytes(buffer.getvalue())
    return Case(label, lambda: import_weights(path), (path.name, *WEIGHTS, "weights do not"), check)


VARIABLES = {
    "params": {"a": {"kernel": np.float32([[1, 2]]), "bias": np.float32([3])}},
    "batch_stats": {"bn": {"mean": np.zeros(2, np.float32)}},
}


def variables_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Folders of imported variables."""
    import flax.traverse_util
    import safetensors.numpy

    from rrsis_jax.weights import variable_folder

    variable_folder.save(folder, VARIABLES)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    label = str(rng.choice(["header", "bytes", "names", "special"]))
    length = int.from_bytes(content[:8], "little")
    match label:
        case "header":
            how, header = damaged_json(rng, content[8 : 8 + length].decode())
            path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
            label += f" {how}"
        case "bytes":
            how, content = damaged(rng, content)
            path.write_bytes(content)
            label += f" {how}"
        case "names":
            flat = flax.traverse_util.flatten_dict(VARIABLES, sep="/")
            name = pick(
                rng, ["params", "params/a", "", "/", "params/a/kernel/x", "x" * 999, "a//b"]
            )
            flat[name] = np.ones(2, np.float32)
            path.write_bytes(safetensors.numpy.save(flat))
            label += f" {name[:20]}"
        case _:
            path.unlink()
            label = special_file(rng, path)

    def check(found: dict) -> None:
        flat = flax.traverse_util.flatten_dict(found, sep="/")
        expect(all(isinstance(x, np.ndarray) for x in flat.values()), "no arrays")

    return Case(label, lambda: variable_folder.load(folder), (path.name,), check)

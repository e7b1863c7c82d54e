"""Weight files on disk: safetensors and PyTorch's, read without running what is inside them."""

import argparse
import pathlib
import zipfile
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import safetensors.numpy

from rrsis_jax import io
from rrsis_jax.weights import weight_files
from rrsis_jax.weights.weight_files import SAFETENSORS_SUFFIXES, TORCH_SUFFIXES

# Sections of a checkpoint that hold weights, and what their names are prefixed with here.
# "module" is DeepSpeed's, "state_dict" mmengine's.
SECTIONS = {"model": "", "state_dict": "", "module": "", "bert_model": "text_encoder."}

StateDict = dict[str, np.ndarray]


def read_state_dict(path: str | pathlib.Path) -> StateDict:
    """Reads all weights of a file or folder into one mapping.

    A checkpoint with sections is unpacked: names of "model" (or "state_dict", "module") stay, names
    of "bert_model" get the prefix "text_encoder."; optimiser, epoch and arguments are left out. A
    leading "module." of distributed training is removed within each section.

    Args:
      path: a .safetensors, .pth, .pt or .bin file (PyTorch's need the `torch` extra), the
        .index.json of weights in several files, or a folder, see `weight_files.choose`.

    Returns:
      Name → NumPy array. Types that NumPy lacks come as float32.

    Raises:
      ValueError: if the file is absent, damaged, of another kind, or would have to run code.
    """
    state_dict: StateDict = {}
    for part in weight_files.parts(weight_files.in_folder(path)):
        weights = _read_file(part)
        _refuse_twice(weights.keys() & state_dict.keys(), part, "in another of its files")
        state_dict |= weights
    return state_dict


def write_state_dict(
    path: str | pathlib.Path,
    state_dict: Mapping[str, np.ndarray],
    section: str = "model",
    text_apart: bool = True,
) -> None:
    """Writes weights as a .safetensors file, or as the reference's kind of .pth checkpoint.

    Args:
      path: the suffix decides: .safetensors gets one flat mapping; .pth, .pt and .bin get
        {section, "bert_model"}, the latter from names that begin with "text_encoder.".
      state_dict: name → array.
      section: one of `SECTIONS` that stay as they are.
      text_apart: False keeps these in `section`, where code that builds its text encoder in looks.

    Raises:
      ValueError: if the suffix is unknown, or PyTorch is needed and missing.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    if path.suffix in SAFETENSORS_SUFFIXES:
        arrays = {name: np.ascontiguousarray(value) for name, value in state_dict.items()}
        with io.replacing(path) as partial:
            safetensors.numpy.save_file(arrays, partial, metadata={"format": "pt"})
        return
    torch = import_torch(f"writing {path.name}")
    prefix = SECTIONS["bert_model"]
    sections = {section: {}, "bert_model": {}}
    for name, value in state_dict.items():
        # ascontiguousarray would turn a scalar into an array of one element.
        tensor = torch.from_numpy(np.array(value, order="C"))
        if text_apart and name.startswith(prefix):
            sections["bert_model"][name.removeprefix(prefix)] = tensor
        else:
            sections[section][name] = tensor
    with io.replacing(path) as partial:
        torch.save({name: weights for name, weights in sections.items() if weights}, partial)


def import_torch(purpose: str) -> Any:
    """Returns the torch module.

    Args:
      purpose: what it is needed for, for the message.

    Raises:
      ValueError: if it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{purpose} needs PyTorch, which is not installed: pip install 'rrsis-jax[torch]'. "
            "Or use a .safetensors file, which needs nothing."
        ) from error
    return torch


def _read_file(path: pathlib.Path) -> StateDict:
    _check_suffix(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Check the path of the weights.")
    if path.suffix in SAFETENSORS_SUFFIXES:
        try:
            return _strip_module(safetensors.numpy.load_file(path))
        except Exception as error:  # of safetensors, NumPy and the operating system
            raise ValueError(f"{path} is not a whole safetensors file: {error}.") from error
    return _flatten(_load_torch(path), path)


def _check_suffix(path: pathlib.Path) -> None:
    known = (*SAFETENSORS_SUFFIXES, *TORCH_SUFFIXES)
    if path.suffix not in known:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}; weights are read and written as one of "
            f"{', '.join(known)}."
        )


def _load_torch(path: pathlib.Path) -> Any:
    """Unpickles tensors and plain containers, and nothing that could run code."""
    torch = import_torch(f"reading {path.name}")
    # The authors' checkpoints keep their command line in a Namespace, which is only data.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
        except Exception as error:  # a damaged pickle or archive can raise anything
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f"{path} was not read. Only tensors and plain containers are accepted, because a "
                f"pickle can run any code. PyTorch says: {' '.join(reason)} If you trust the "
                "file, load it in PyTorch yourself and save its state_dict alone."
            ) from error


def _flatten(content: Any, path: pathlib.Path) -> StateDict:
    """Unpacks the sections of a checkpoint into one mapping of arrays."""
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}; expected a state dict or a checkpoint "
            f"with one of the sections {', '.join(SECTIONS)}."
        )
    sections = [name for name in SECTIONS if isinstance(content.get(name), Mapping)]
    if not sections:
        return _strip_module(_tensors(content, path))
    state_dict: StateDict = {}
    for section in sections:
        prefix = SECTIONS[section]
        weights = _strip_module(_tensors(content[section], path))
        prefixed = {prefix + name: value for name, value in weights.items()}
        where = f"in the section {section!r} and in one before"
        _refuse_twice(prefixed.keys() & state_dict.keys(), path, where)
        state_dict |= prefixed
    return state_dict


def _refuse_twice(names: Set[str], path: pathlib.Path, where: str) -> None:
    if names:
        raise ValueError(
            f"{path} holds {len(names)} weights twice, first {min(names)}: {where}. Save a file "
            "with one of them."
        )


def _tensors(weights: Mapping[str, Any], path: pathlib.Path) -> StateDict:
    torch = import_torch(f"reading {path.name}")
    unnamed = [name for name in weights if not isinstance(name, str)]
    if unnamed:
        raise ValueError(
            f"{path} holds tensors whose names are no text, first {unnamed[0]!r}. Save the "
            "state_dict of a module."
        )
    others = [name for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(
            f"{path} holds entries that are no tensors: {', '.join(map(str, others))}. Expected a "
            f"state dict, or a checkpoint with one of the sections {', '.join(SECTIONS)}."
        )
    shared = (torch.float16, torch.float32, torch.float64)  # with NumPy
    arrays = {}
    for name, value in weights.items():
        widened = value.is_floating_point() and value.dtype not in shared
        try:
            arrays[name] = (value.float() if widened else value).detach().numpy()
        except (TypeError, RuntimeError) as error:  # sparse, quantised or without storage
            raise ValueError(
                f"{path} holds {name} in a form that is no plain array: {error}. Save it as a "
                "dense tensor on the CPU."
            ) from error
    return arrays


def _strip_module(weights: StateDict) -> StateDict:
    """Removes the "module." of distributed training where every name has it."""
    if not all(name.startswith("module.") for name in weights):
        return weights
    return {name.removeprefix("module."): value for name, value in weights.items()}

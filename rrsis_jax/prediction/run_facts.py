"""What a run says of its model where that goes elsewhere: data, metrics, origin of its weights."""

import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

import rrsis_jax
from rrsis_jax import hub_address, io
from rrsis_jax.configuration import run_folder
from rrsis_jax.weights import sources


def read(workdir: pathlib.Path, config: ml_collections.ConfigDict, step: int) -> dict[str, Any]:
    """Reads the facts of a run.

    Args:
      workdir: the run's folder.
      config: of the run.
      step: of the checkpoint that they are about; numbers of another one are left out, and those
        of a configuration that differs from the run's, as they may be averaged over views.

    Returns:
      `model`, `dataset`, `image_size`, `test_time`, `checkpoint_step`, `config_sha256`, `version`,
      `splits` (name → what `scores.score` returns, without breakdowns) and `sources`.

    Raises:
      ValueError: if a file of the run cannot be read.
    """
    digest = run_folder.config_hash(config)
    splits: dict[str, Any] = {}
    for path in sorted(workdir.glob("metrics*.json")):
        report = io.read_json(path)
        if (report.get("best_step"), report.get("config_sha256")) == (step, digest):
            splits |= report["splits"]
    return {
        "model": config.model.name,
        "dataset": config.data.dataset,
        "image_size": config.data.image_size,
        "test_time": config.eval.test_time,
        "checkpoint_step": step,
        "config_sha256": digest,
        "version": rrsis_jax.__version__,
        "splits": {name: _without_breakdowns(values) for name, values in splits.items()},
        "sources": sources.load(workdir),
    }


def public(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns facts that name files of this machine without their folders."""
    return {**facts, "sources": [_public(record) for record in facts.get("sources", [])]}


def _public(record: Mapping[str, Any]) -> dict[str, Any]:
    name = str(record.get("source", ""))
    shown = name if hub_address.is_address(name) else pathlib.Path(name).name
    earlier = [_public(one) for one in record.get("made_from", [])]
    return {**record, "source": shown, **({"made_from": earlier} if earlier else {})}


def _without_breakdowns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "breakdowns"}

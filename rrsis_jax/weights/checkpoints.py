"""Saving and restoring the state of a run as orbax checkpoints.

A run keeps its newest checkpoints and the best one by validation mIoU. Every array is stored with
a checksum, because a flipped byte in a data file would otherwise come back as a wrong number
without a word. A damaged newest checkpoint is reported by name and the one before it is used.
Parameters that training does not change are stored once, in a folder named by their digest.
"""

import contextlib
import json
import logging as standard_logging
import os
import pathlib
import shutil
import zlib
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from rrsis_jax import errors, io
from rrsis_jax.types import Params, Variables
from rrsis_jax.weights import trees, variable_folder
from rrsis_jax.weights.trees import CheckpointError, Flat, OtherModelError

_TRAIN_FIRST = "Train first: `rrsis-train --config=… --workdir=…`."
_SHARED = "the frozen parameters that it shares"

Description = dict[str, dict[str, Any]]  # shape, dtype and checksum by flat name


class Checkpoints:
    """The checkpoints of one run under `directory`, written in the background."""

    def __init__(
        self, directory: pathlib.Path | str, keep_latest: int = 2, read_only: bool = False
    ):
        """Opens `directory`, creating it if need be.

        Args:
          directory: the folder of all checkpoints of the run.
          keep_latest: how many newest checkpoints to keep beside the best one.
          read_only: changes nothing, so that a run can be looked at while it trains.

        Raises:
          CheckpointError: if a folder to read only does not exist, or cannot be opened.
        """
        self.directory = pathlib.Path(directory).absolute()
        self._read_only = read_only
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"There is no checkpoint yet in {self.directory}. {_TRAIN_FIRST}")
        if not read_only:
            self.directory.mkdir(parents=True, exist_ok=True)
        logging.get_absl_logger().addFilter(_is_not_orbaxs)
        self._manager = self._open(_options(keep_latest, read_only))
        self._frozen = ""  # the digest of the frozen parameters; none by default

    def keep_frozen(self, params: Params) -> None:
        """Stores the parameters that training does not change, once for all later checkpoints.

        Args:
          params: nested numpy arrays, which the states that `save` takes do without; may be empty.
        """
        digest = trees.digest(params) if params else ""
        if digest != self._frozen:
            variable_folder.save(self._frozen_folder(digest), {"params": params})
            self._frozen = digest

    def save(self, step: int, state: Any, progress: dict[str, Any], score: float | None) -> None:
        """Starts writing a checkpoint and returns at once.

        Args:
          step: the number of finished steps.
          state: a pytree of host (numpy) arrays, without the frozen parameters; it must not be
            changed afterwards.
          progress: JSON-serialisable facts to resume with (metric history, best so far).
          score: validation mIoU at this step, by which the best checkpoint is chosen; None if
            the step was not validated.

        Raises:
          CheckpointError: if this checkpoint or the one before it could not be written.
        """
        arrays = trees.flatten(state)
        described = {key: _describe(x) for key, x in arrays.items()}
        said = {"progress": progress, "arrays": described, "score": score, "frozen": self._frozen}
        meta = _sealed(said)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(trees.unflatten(arrays)), meta=ocp.args.JsonSave(meta)
        )
        metrics = None if score is None else {"score": score}
        try:
            self._manager.save(step, args=items, metrics=metrics)
        except Exception as error:  # of this save or of the one before, which ran in the background
            raise self._unwritten(error) from error

    def steps(self) -> list[int]:
        """Returns the finished checkpoints' steps, oldest first."""
        if self._read_only:  # another process may have written since
            self._manager.reload()
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """Returns the step with the highest score, the earliest of equals; None if none has one.

        Raises:
          CheckpointError: if the score of one of them cannot be read.
        """
        scores = {}
        for step in self.steps():
            try:
                score = self._read_meta(step)["score"]
            except CheckpointError as error:
                raise CheckpointError(
                    f"{error} So which checkpoint is the best cannot be told. Move that folder "
                    "elsewhere to do without it."
                ) from error
            if score is not None:
                scores[step] = score
        return max(scores, key=lambda step: (scores[step], -step), default=None)

    def restore(self, step: int, template: Any) -> tuple[Any, dict[str, Any]]:
        """Reads one checkpoint and checks every array.

        Args:
          step: which one.
          template: a pytree with the wanted structure, shapes and dtypes.

        Returns:
          (state, progress), the state as numpy arrays in the structure of `template`.

        Raises:
          CheckpointError: if it is damaged.
          OtherModelError: if it is whole, but of another model or configuration.
        """
        meta, wanted = self._read_meta(step), trees.kinds(template)
        frozen = self._read_frozen(step, meta)
        stored = {key: f"{d['dtype']}{d['shape']}" for key, d in meta["arrays"].items()}
        stored = _without_old_averages(stored | trees.kinds(frozen), wanted)
        trees.check_same(self.directory / str(step), stored, wanted)
        arrays = self._read_arrays(step, meta["arrays"]) | frozen
        self._frozen = meta.get("frozen", "")
        return _restructure(template, {key: arrays[key] for key in wanted}), meta["progress"]

    def restore_variables(self, step: int) -> Variables:
        """Reads what a checkpoint evaluates with: averaged parameters where it has any.

        Returns:
          {"params", "batch_stats"} of numpy arrays.

        Raises:
          CheckpointError: if it is damaged.
        """
        meta = self._read_meta(step)
        arrays = self._read_arrays(step, meta["arrays"]) | self._read_frozen(step, meta)
        state = trees.unflatten(arrays)
        params = trees.join(state["params"], state.get("ema", {}))
        return {"params": params, "batch_stats": state.get("batch_stats", {})}

    def restore_best(self) -> tuple[int, Variables]:
        """Returns the best checkpoint's step and what it evaluates with.

        Raises:
          CheckpointError: if no checkpoint was validated yet, or the best one is damaged.
        """
        step = self.best_step()
        if step is None:
            raise CheckpointError(
                f"{self.directory} holds no validated checkpoint yet. {_TRAIN_FIRST}"
            )
        return step, self.restore_variables(step)

    def restore_latest(self, template: Any) -> tuple[Any, dict[str, Any]] | None:
        """Restores the newest whole checkpoint, reporting damaged ones by name.

        Returns:
          (state, progress), or None if the run has no checkpoint yet.

        Raises:
          CheckpointError: if there are checkpoints but none is whole, or the newest is of another
            model.
        """
        problems = []
        for step in reversed(self.steps()):
            try:
                restored = self.restore(step, template)
            except CheckpointError as error:
                if isinstance(error, OtherModelError):
                    raise
                problems.append(str(error))
                logging.error("%s The checkpoint before it is tried.", error)
                continue
            if not self._read_only:
                self._set_aside([s for s in self.steps() if s > step])
                self._manager.reload()
            return restored
        if problems:
            listing = "\n  ".join(problems)
            raise CheckpointError(
                f"No whole checkpoint is left in {self.directory}:\n  {listing}\nRestore a backup "
                "of the folder, or choose another --workdir to start anew."
            )
        return None

    def wait(self) -> None:
        """Returns when all started saves are on disk.

        Raises:
          CheckpointError: if one of them could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # orbax and tensorstore each raise their own kinds
            raise self._unwritten(error) from error

    def close(self) -> None:
        """Waits for started saves and releases the folder."""
        self._manager.close()

    def _read_meta(self, step: int) -> dict[str, Any]:
        """Returns a checkpoint's `progress`, `score` and the description of its `arrays`."""
        items = ocp.args.Composite(meta=ocp.args.JsonRestore())
        try:
            meta = self._manager.restore(step, args=items)["meta"]
        except Exception as error:  # orbax, tensorstore and json each raise their own kinds
            raise self._damaged(step, errors.first_line(error)) from error
        if not isinstance(meta, dict) or meta.get("crc32") != _sealed(meta)["crc32"]:
            raise self._damaged(step, "its description was changed, or is of another version")
        return meta

    def _read_arrays(self, step: int, described: Description) -> Flat:
        """Returns a checkpoint's arrays, each equal to what was saved."""
        empty = {key: np.empty(d["shape"], d["dtype"]) for key, d in described.items()}
        items = ocp.args.Composite(state=ocp.args.StandardRestore(trees.unflatten(empty)))
        try:
            arrays = trees.flatten(self._manager.restore(step, args=items)["state"])
        except Exception as error:  # see above
            raise self._damaged(step, errors.first_line(error)) from error
        broken = sorted(
            k for k, d in described.items() if k not in arrays or d != _describe(arrays[k])
        )
        if broken:
            raise self._damaged(
                step, f"{len(broken)} array(s) changed on disk: {errors.listing(broken)}"
            )
        return arrays

    def _read_frozen(self, step: int, meta: dict[str, Any]) -> Flat:
        """Returns the arrays that a checkpoint shares with others; none in one of version 0.1."""
        digest = meta.get("frozen", "")
        if not digest:
            return {}
        folder = self._frozen_folder(digest)
        try:
            variables = variable_folder.load(folder)
            changed = trees.digest(variables["params"]) != digest
        except (CheckpointError, KeyError) as error:
            raise self._damaged(step, f"{_SHARED}, {folder}, cannot be read") from error
        if changed:
            raise self._damaged(step, f"{_SHARED}, {folder}, changed on disk")
        return trees.flatten(variables)

    def _frozen_folder(self, digest: str) -> pathlib.Path:
        return self.directory / f"frozen-{digest[:16]}"

    def _unwritten(self, error: Exception) -> CheckpointError:
        whole = errors.listing([str(step) for step in self._whole_steps()[::-1]]) or "none"
        return CheckpointError(
            f"A checkpoint could not be written to {self.directory}: {errors.reason(error)}. "
            f"Whole ones there: {whole}. Make room or check the permissions, then give the same "
            "command again."
        )

    def _whole_steps(self) -> list[int]:
        """Returns the steps on disk that were finished, oldest first."""
        self._manager.reload()  # orbax counts a checkpoint from the beginning of its save
        whole = []
        for step in self.steps():
            with contextlib.suppress(CheckpointError):
                self._read_meta(step)
                whole.append(step)
        return whole

    def _damaged(self, step: int, reason: str) -> CheckpointError:
        return CheckpointError(f"Checkpoint {self.directory / str(step)} is damaged: {reason}.")

    def _open(self, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
        """Opens the folder; a checkpoint that keeps orbax from it is set aside."""
        try:
            return ocp.CheckpointManager(self.directory, options=options)
        except Exception as error:  # orbax reads what describes all checkpoints
            broken = [] if self._read_only else self._unopenable()
            if not broken:
                raise CheckpointError(
                    f"{self.directory} cannot be opened: {errors.first_line(error)}. Each "
                    "numbered folder in it is a checkpoint; move the damaged one, most likely the "
                    "newest, elsewhere."
                ) from error
        self._set_aside(broken)
        return self._open(options)

    def _unopenable(self) -> list[int]:
        """Returns the steps whose heads are broken; none if all of them are."""
        folders = [path for path in self.directory.iterdir() if path.name.isdigit()]
        broken = [int(path.name) for path in folders if not _has_readable_head(path)]
        return broken if len(broken) < len(folders) else []

    def _set_aside(self, damaged: list[int]) -> None:
        """Renames damaged checkpoints so that their steps can be saved again."""
        for step in damaged:
            aside = self.directory / f"{step}.damaged"
            shutil.rmtree(aside, ignore_errors=True)
            (self.directory / str(step)).rename(aside)
            logging.error("The damaged checkpoint %d is kept as %s.", step, aside)


def _options(keep_latest: int, read_only: bool) -> ocp.CheckpointManagerOptions:
    policies, own = ocp.checkpoint_managers, jax.process_index()
    return ocp.CheckpointManagerOptions(
        best_fn=_score,  # without it orbax does not store the score
        preservation_policy=policies.AnyPreservationPolicy(
            [
                policies.LatestN(keep_latest),
                policies.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
            ]
        ),
        cleanup_tmp_directories=not read_only,
        read_only=read_only,
        create=False,
        # Hosts wait for each other in `hosts` only; orbax sees each of them alone.
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"host{own}"
        ),
    )


def _is_not_orbaxs(record: standard_logging.LogRecord) -> bool:
    """Keeps orbax's notes and tracebacks out of the log: what they say is raised or logged here."""
    return f"{os.sep}orbax{os.sep}" not in record.pathname


def _has_readable_head(folder: pathlib.Path) -> bool:
    """Returns whether orbax can read what it reads of a checkpoint before it is asked for it."""
    try:
        for path in (folder / "_CHECKPOINT_METADATA", folder / "metrics" / "metrics"):
            if path.exists():
                io.read_json(path)
    except ValueError:
        return False
    return True


def _score(metrics: dict[str, float]) -> float:
    return metrics["score"]


def _without_old_averages(stored: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """Drops the averages of frozen parameters, equal to these, that version 0.1 stored."""
    averaging = any(key.startswith("ema/") for key in wanted)
    frozen = {
        key
        for key in stored.keys() - wanted.keys()
        if averaging and key.startswith("ema/") and key.replace("ema/", "params/", 1) in wanted
    }
    return {key: kind for key, kind in stored.items() if key not in frozen}


def _restructure(template: Any, arrays: Flat) -> Any:
    """Puts flat arrays into the structure of `template`, empty nodes included."""
    nodes = flax.traverse_util.flatten_dict(
        flax.serialization.to_state_dict(template), sep="/", keep_empty_nodes=True
    )
    state_dict = flax.traverse_util.unflatten_dict({**nodes, **arrays}, sep="/")
    return flax.serialization.from_state_dict(template, state_dict)


def _sealed(meta: dict[str, Any]) -> dict[str, Any]:
    """Returns a description with the checksum of what it says."""
    said = {key: value for key, value in meta.items() if key != "crc32"}
    return {**said, "crc32": zlib.crc32(json.dumps(said, sort_keys=True).encode())}


def _describe(array: np.ndarray) -> dict[str, Any]:
    """Returns shape, type and the CRC-32 of the bytes, which guards against damage only."""
    checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return {"shape": list(array.shape), "dtype": str(array.dtype), "crc32": checksum}

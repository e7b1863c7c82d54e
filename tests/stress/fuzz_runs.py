"""Cases of what runs are made of and leave: configurations, checkpoints, journals, datasets."""

import json
import pathlib
import shutil
import sys
from typing import Any
from unittest import mock

import numpy as np

from tests.stress.fuzz_case import Case, damaged, damaged_json, expect, pick
from tests.stress.fuzz_images import IMAGE, special_file, write_layout
from tests.stress.fuzz_weights import Evil


def config_case(rng: np.random.Generator, folder: pathlib.Path, material: Any) -> Case:
    """Overrides of the command line."""
    from absl import flags
    from ml_collections import config_flags

    from rrsis_jax.configuration import run_folder
    from rrsis_jax.models import registry
    from rrsis_jax.training import optim
    from rrsis_jax.training.plan import make_plan

    config = material.copy_and_resolve_references().unlock()
    key, value = _override(rng, config)
    config.lock()

    def call() -> Any:
        arguments, values = ["main.py", f"--config.{key}={value}"], flags.FlagValues()
        try:
            with mock.patch.object(sys, "argv", arguments):  # where config_flags looks
                config_flags.DEFINE_config_dict("config", config, flag_values=values)
                values(arguments)
        except (flags.Error, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"main.py answers it: {error}") from error
        run_folder.save_or_check(config, folder)
        plan = make_plan(config, 100_000)
        schedule = optim.build_schedule(config.optim, plan.total)
        optim.build_optimizer(config.optim, schedule, registry.build(config))
        return config

    def check(found: Any) -> None:
        node = found
        for part in key.split("."):
            node = getattr(node, part)
        expect(_sensible(key, node), f"{key} = {node!r} was accepted")

    return Case(f"{key}={value[:40]}", call, (key, key.rpartition(".")[2]), check)


_OVERRIDES = ["-1", "0", "1", "3", "1e400", "nan", "-inf", "10000000000000000000000", "1.5", "-0.5"]
_OVERRIDES += ["many", "", "None", "True", "()", "(1,2)", "(0,0,0,0)", "(1,1,1,1)", "('a',)", "[]"]
_OVERRIDES += ["ж", "\0", "../x", "{}", "1e-9", "0.5", "lgce", "float16", "__import__('os')"]


def _override(rng: np.random.Generator, config: Any) -> tuple[str, str]:
    keys, pending = [], [("", config)]
    while pending:
        prefix, node = pending.pop()
        for key, value in node.items():
            if isinstance(value, type(config)):
                pending.append((f"{prefix}{key}.", value))
            else:
                keys.append(f"{prefix}{key}")
    keys = [key for key in sorted(keys) if not key.startswith("distributed.")]
    key = pick(rng, keys)
    if rng.random() < 0.05:
        key = pick(rng, [f"{key}x", "ghost", f"{key}.y", "train", "__class__", ""])
    return key, pick(rng, _OVERRIDES)


_FREE_TEXT = ("init_from", "dataset", "folder", "data_dir", "tokenizer", "pretrained")
_FROM_ZERO = {
    "seed", "data.prefetch", "optim.warmup_steps", "optim.weight_decay", "optim.clip_norm",
    "optim.ema_decay", "optim.b1", "optim.b2", "train.profile_steps", "eval.num_pictures",
    "loss.dice_weight", "model.text.trained_layers", "model.text.dropout", "model.fusion.dropout",
    "model.vision.drop_path_rate", "optim.power", "data.augment.crop_keeps",
    "data.ground_sampling_distance",
    "data.augment.photometric",
}  # fmt: skip


def _sensible(key: str, value: Any) -> bool:
    """Tells whether a run with that value has a meaning."""
    if isinstance(value, bool):
        return True
    if key.endswith(_FREE_TEXT):
        return True
    if isinstance(value, str):
        return value in ("lgce", "lavt", "float32", "bfloat16", "none")
    if isinstance(value, tuple):
        return len(value) in (2, 4) and all(x >= 0 for x in value) and any(x > 0 for x in value)
    return np.isfinite(value) and (value > 0 or (value == 0 and key in _FROM_ZERO)) and value < 1e12


def small_state(step: int) -> dict[str, Any]:
    """Returns a state whose arrays name the step that they are of."""
    values = np.sin(np.arange(600, dtype=np.float32)) + np.float32(step)
    return {
        "step": np.int32(step),
        "params": {"decoder": {"kernel": values}},
        "batch_stats": {"bn": {"mean": np.zeros(2, np.float32)}},
    }


def save_checkpoints(folder: pathlib.Path) -> pathlib.Path:
    """Saves three checkpoints, the second of which is the best."""
    from rrsis_jax.weights import checkpoints

    saved = checkpoints.Checkpoints(folder)
    for step, score in ((1, 0.3), (2, 0.9), (3, 0.5)):
        saved.save(step, small_state(step), {"history": [{"step": step}], "losses": []}, score)
    saved.wait()
    saved.close()
    return folder


def checkpoints_case(
    rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path
) -> Case:
    """Folders of checkpoints."""
    from rrsis_jax.weights import checkpoints

    shutil.copytree(material, folder, dirs_exist_ok=True)
    label = str(rng.choice(["damage", "json", "delete", "swap", "stray", "rename"]))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = pick(rng, files)
    match label:
        case "damage":
            how, content = damaged(rng, path.read_bytes() or b"x")
            path.write_bytes(content)
            label += f" {path.relative_to(folder)} {how}"
        case "json":
            documents = [file for file in files if file.read_bytes()[:1] == b"{"]
            path = pick(rng, documents)
            how, content = damaged_json(rng, path.read_text())
            path.write_bytes(content)
            label += f" {path.relative_to(folder)} {how}"
        case "delete":
            if rng.random() < 0.5:
                path.unlink()
            else:
                path = path.parent
                shutil.rmtree(path)
            label += f" {path.relative_to(folder)}"
        case "swap":
            at = int(rng.integers(1, 4))
            other = (
                folder
                / str(at % 3 + 1)
                / path.relative_to(folder).relative_to(path.relative_to(folder).parts[0])
            )
            if other.is_file() and path.is_file():
                content = other.read_bytes()
                other.write_bytes(path.read_bytes())
                path.write_bytes(content)
            label += f" {path.relative_to(folder)} {at}"
        case "stray":
            stray = pick(
                rng, ["7", "999999999999999999999", "-1", "x", "07", "3.orbax-checkpoint-tmp"]
            )
            if rng.random() < 0.5:
                (folder / stray).mkdir()
            else:
                (folder / stray).write_text("stray")
            label += f" {stray}"
        case _:
            (folder / "3").rename(folder / pick(rng, ["4", "30", "three", "0"]))

    present = [path.name for path in folder.iterdir()]

    def call() -> tuple[Any, Any]:
        looking = checkpoints.Checkpoints(folder, read_only=True)
        try:
            best = looking.restore_best()
        except checkpoints.CheckpointError as error:
            best = error
        finally:
            looking.close()
        saved = checkpoints.Checkpoints(folder)
        try:
            return best, saved.restore_latest(small_state(0))
        finally:
            saved.close()

    def check(found: tuple[Any, Any]) -> None:
        best, latest = found
        if not isinstance(best, Exception):
            step, variables = best
            kernel = variables["params"]["decoder"]["kernel"]
            wanted = 2 if "2" in present else 3
            same = np.array_equal(kernel, small_state(wanted)["params"]["decoder"]["kernel"])
            expect(same, f"the best of {step} is another's")
        if latest is None:
            expect(not any(p.name.isdigit() for p in folder.iterdir()), "checkpoints were not seen")
            return
        state, progress = latest
        step = int(state["step"])
        wanted = small_state(step)["params"]["decoder"]["kernel"]
        expect(np.array_equal(state["params"]["decoder"]["kernel"], wanted), "another state")
        history = {"history": [{"step": step}], "losses": []}
        expect(progress == history, f"progress {progress} of step {step}")

    return Case(label, call, (str(folder),), check)


def write_workdir(folder: pathlib.Path) -> tuple[pathlib.Path, Any]:
    """Writes what a finished run leaves beside its checkpoints; returns its configuration too."""
    from rrsis_jax.configuration import run_folder
    from rrsis_jax.evaluation import metrics, sample_table
    from tests import tiny_config

    config = tiny_config.get_config()
    run_folder.save_or_check(config, folder)
    facts = ("tree", "vegetation", "class", "2 to 10 %", 0.05)
    samples = [
        sample_table.Sample(k, f"id{k}", f"tile{k // 2}", *facts, 10 * k, 100, 12 * k, 120)
        for k in range(6)
    ]
    about = {
        "split": "test",
        "dataset": "refsegrs/folder/1.1.0",
        "data": {},
        "image_size": 32,
        "model": "lgce",
        "checkpoint_step": 12,
        "config_sha256": "0" * 64,
        "mIoU, phrases shuffled": 0.25,
    }
    sample_table.save(sample_table.SampleTable(about, samples), folder)
    record = {"epoch": 1.0, "train_loss": 1.0, "mIoU": 0.1, "oIoU": 0.1, "P@0.5": 0.0}
    history = [{"step": k, **record} for k in (1, 2)]
    report = {"best_step": 2, "legend": metrics.LEGEND, "splits": {}, "history": history}
    (folder / "metrics.json").write_text(json.dumps(report))
    return folder, config


def workdirs_case(rng: np.random.Generator, folder: pathlib.Path, material: Any) -> Case:
    """The configuration, metrics and evaluations of a run."""
    from rrsis_jax.configuration import run_folder
    from rrsis_jax.evaluation import sample_table
    from rrsis_jax.reporting import charts, report

    source, config = material
    shutil.copytree(source, folder, dirs_exist_ok=True)
    name = pick(rng, ["config.json", "metrics.json", "evaluation_test.json"])
    path = folder / name
    text = path.read_text()
    if rng.random() < 0.1:
        path.unlink()
        label = special_file(rng, path)
    else:
        label, content = damaged_json(rng, text)
        path.write_bytes(content)

    def read_config() -> None:
        run_folder.check(config, folder)
        expect(run_folder.load(folder).to_json() == config.to_json() or _free(folder, config), name)

    def read_metrics() -> None:
        history = report._history(folder)
        if history:
            charts.learning_curves(history)

    def read_evaluation() -> None:
        table = sample_table.load(folder, "test")
        for protocol in ("paper", "native"):
            numbers = table.summary(protocol)
            right = all(0.0 <= value <= 1.0 for key, value in numbers.items() if key != "samples")
            expect(right, f"numbers that are no shares: {numbers}")
        json.dumps(report._facts(table))

    calls = {
        "config.json": read_config,
        "metrics.json": read_metrics,
        "evaluation_test.json": read_evaluation,
    }
    named = (name, str(folder)) if name == "config.json" else (name,)
    return Case(f"{name}: {label}", calls[name], named, lambda found: None)


def _free(folder: pathlib.Path, config: Any) -> bool:
    """Tells whether a run's configuration differs in values only that a run may change."""
    from rrsis_jax.configuration import run_folder, schema

    there = schema.flat(run_folder._plain(run_folder.load(folder)))
    here = schema.flat(run_folder._plain(config))
    rules = schema.rules(config)
    return all(rules[key].free for key in here if here[key] != there.get(key))


def save_journal(folder: pathlib.Path) -> bytes:
    """Returns the journal of an interrupted scene."""
    from rrsis_jax.prediction import job_journal

    sums = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    job_journal.Journal(folder, "digest").save(job_journal.Position(5, 7, sums))
    (path,) = folder.iterdir()
    return path.read_bytes()


def journals_case(rng: np.random.Generator, folder: pathlib.Path, material: bytes) -> Case:
    """The journals of interrupted scenes."""
    import io

    from rrsis_jax.prediction import job_journal

    work = folder / "out" / "unfinished"
    work.mkdir(parents=True)
    path = work / "journal.npz"
    label, content = "other content", material
    if rng.random() < 0.7:
        label, content = damaged(rng, material)
    else:
        whole = {"digest": "digest", "tiles": 5, "rows": 7, "sums": np.zeros((2, 3, 4), np.float32)}
        key = pick(rng, list(whole))
        values = [None, "x", -1, np.zeros(3), float("nan"), np.array([Evil(print, 1)], object)]
        whole[key] = pick(rng, values)
        if whole[key] is None:
            del whole[key]
        buffer = io.BytesIO()
        np.savez(buffer, **whole)
        content, label = buffer.getvalue(), f"other {key}"
    path.write_bytes(content)

    def check(found: Any) -> None:
        expect(found is not None, "the journal was taken for none")
        expect((found.tiles, found.rows) == (5, 7), f"{found.tiles} tiles, {found.rows} rows")
        expect(found.sums.shape == (2, 3, 4) and found.sums.dtype == np.float32, "other sums")

    return Case(
        label, lambda: job_journal.Journal(work, "digest").read(), (str(folder / "out"),), check
    )


def prepare_dataset(folder: pathlib.Path) -> pathlib.Path:
    """Prepares two synthetic scenes a split; returns TFDS's folder."""
    from rrsis_jax.data import datasets

    (folder / "layout").mkdir()
    write_layout(folder / "layout")
    datasets.prepare("refsegrs/folder", str(folder / "tfds"), str(folder / "layout"))
    return folder


def prepared_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Prepared datasets."""
    from rrsis_jax.data import datasets

    shutil.copytree(material / "tfds", folder / "tfds")
    (version,) = {path.parent for path in (folder / "tfds").rglob("dataset_info.json")}
    files = sorted(path for path in version.iterdir() if path.is_file())
    path = pick(rng, files)
    label = str(rng.choice(["damage", "json", "delete", "truncate"]))
    if label == "json":
        path = pick(rng, [file for file in files if file.suffix == ".json"])
        how, content = damaged_json(rng, path.read_text())
        path.write_bytes(content)
        label += f" {how}"
    elif label == "delete":
        path.unlink()
    elif label == "truncate":
        path = pick(rng, [file for file in files if "array_record" in file.name])
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(len(content)))])
    else:
        how, content = damaged(rng, path.read_bytes())
        path.write_bytes(content)
        label += f" {how}"

    def call() -> list[dict]:
        builder = datasets.prepare(
            "refsegrs/folder", str(folder / "tfds"), str(material / "layout")
        )
        return [
            source[index]
            for split in ("train", "validation", "test")
            for source in [datasets.open_split(builder, split)]
            for index in range(len(source))
        ]

    def check(found: list[dict]) -> None:
        expect(len(found) == 6, f"{len(found)} samples of 6")
        for number, example in enumerate(found):
            expect(np.array_equal(example["image"], IMAGE), f"the pixels of {number}")
            phrase = f"red car number {number}"
            expect(datasets.text(example["expression"]) == phrase, f"phrase {number}")

    return Case(f"{label} {path.name}", call, (str(folder / "tfds"),), check)


def load_config(folder: pathlib.Path) -> Any:
    """Returns the smallest configuration."""
    from tests import tiny_config

    return tiny_config.get_config()

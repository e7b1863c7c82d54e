"""What can be refused before the slow imports: a mistake is answered at once.

The commands check the same again when they come to it.
"""

import pathlib
from collections.abc import Sequence

import ml_collections

from rrsis_jax import io
from rrsis_jax.configuration import run_folder, schema
from rrsis_jax.evaluation import sample_table
from rrsis_jax.prediction import model_checks


def training(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Refuses values that no run can have, and a folder where this one cannot be.

    Raises:
      ValueError: if the configuration cannot be used, or the folder holds a run with another one.
      OSError: if the folder cannot be made, is a file or may not be written to.
    """
    schema.check(config)
    folder = pathlib.Path(workdir).absolute()
    io.check_writable(folder)
    if (folder / run_folder.FILE).exists():
        run_folder.check(config, folder)


def evaluation(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Refuses a folder without a run of this configuration, or whose run has no checkpoint yet.

    Raises:
      ValueError: see `run_folder.check`, or naming the folder.
      OSError: if the folder may not be written to.
    """
    folder = pathlib.Path(workdir).absolute()
    run_folder.check(config, folder)
    io.check_writable(folder)
    model_checks.check_checkpoints(folder)


def report(workdir: str, split: str, output: str | None) -> None:
    """Refuses a folder without an evaluation of the split, or a page that cannot be written.

    Raises:
      ValueError: see `sample_table.load` and `run_folder.load`.
      OSError: see `io.check_writable`.
    """
    if output:
        io.check_writable(pathlib.Path(output).parent)
    sample_table.load(workdir, split)
    run_folder.load(workdir)
    io.check_writable(pathlib.Path(workdir))


def prompts(workdir: str, output: str) -> ml_collections.ConfigDict:
    """Refuses a run that no prompts are made of, or a folder that they cannot be written to.

    Returns:
      The section `model.prompts` of its configuration.

    Raises:
      ValueError: see `run_folder.load`, or naming the run's model or stage.
      OSError: see `io.check_writable`.
    """
    model = run_folder.load(workdir).model
    if "prompts" not in model:
        raise ValueError(
            f"{workdir} is a run of {model.name}, no later stage of which is trained on prompts. "
            "Name a run of --config=dicor_coarse_refsegrs or the like."
        )
    if model.stage != "coarse":
        raise ValueError(
            f"{workdir} is a run of the stage {model.stage!r}; prompts are made of what the stage "
            "'coarse' predicts. Name the run that this one was started from."
        )
    model_checks.check_checkpoints(workdir)
    io.check_writable(pathlib.Path(output))
    return model.prompts


def comparison(workdirs: Sequence[str], split: str, output: str) -> None:
    """Refuses evaluations that cannot be compared, or a page that cannot be written.

    Raises:
      ValueError: see `sample_table.load` and `sample_table.check_same_samples`.
      OSError: see `io.check_writable`.
    """
    tables = {
        name: sample_table.load(workdir, split)
        for name, workdir in zip(sample_table.names(workdirs), workdirs, strict=True)
    }
    sample_table.check_same_samples(tables)
    run_folder.load(workdirs[0])
    io.check_writable(pathlib.Path(output).parent)

"""Hostile and damaged input for every door through which users' files come in.

A door makes cases: it writes files into a folder and says how they are read, what a refusal has to
name, and how a result is checked. The same seed makes the same cases.
"""

import pathlib

from tests.stress import fuzz_images, fuzz_models, fuzz_phrases, fuzz_runs, fuzz_weights
from tests.stress.fuzz_case import Door


def nothing(folder: pathlib.Path) -> None:
    """Prepares nothing."""


DOORS = {
    door.name: door
    for door in (
        Door("phrases", fuzz_images.write_layout, fuzz_phrases.phrases_case),
        Door("tiles", fuzz_images.write_layout, fuzz_images.tiles_case),
        Door("pictures", nothing, fuzz_images.pictures_case),
        Door("scenes", nothing, fuzz_images.scenes_case),
        Door("safetensors", nothing, fuzz_weights.safetensors_case),
        Door("torch", nothing, fuzz_weights.torch_case),
        Door("variables", nothing, fuzz_weights.variables_case),
        Door("config", fuzz_runs.load_config, fuzz_runs.config_case),
        Door("checkpoints", fuzz_runs.save_checkpoints, fuzz_runs.checkpoints_case),
        Door("bundles", fuzz_models.save_bundle, fuzz_models.bundles_case),
        Door("workdirs", fuzz_runs.write_workdir, fuzz_runs.workdirs_case),
        Door("journals", fuzz_runs.save_journal, fuzz_runs.journals_case),
        Door("tokenizers", fuzz_models.save_tokenizer, fuzz_models.tokenizers_case),
        Door("prepared", fuzz_runs.prepare_dataset, fuzz_runs.prepared_case),
    )
}

"""Imports and exports LGCE and LAVT checkpoints: the command `rrsis-weights`."""

from collections.abc import Sequence

import ml_collections

from rrsis_jax import command, config_files, parsers, variable_folder
from rrsis_jax.pretrained import files, lgce
from rrsis_jax.pretrained.mapping import Report, Row


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; `arguments` default to those of the process."""
    options = parsers.weights().parse_args(arguments)
    config_model = config_files.load(options.config).model
    action = {"import": import_checkpoint, "export": export_variables}[options.action]
    print(action(options.source, config_model, options.to))


def import_checkpoint(source: str, config_model: ml_collections.ConfigDict, folder: str) -> Report:
    """Reads a checkpoint file, writes a folder of variables, returns what went where."""
    variables, report = lgce.import_with_report(files.read_state_dict(source), config_model)
    variable_folder.save(folder, variables)
    return report


def export_variables(folder: str, config_model: ml_collections.ConfigDict, path: str) -> Report:
    """Reads a folder of variables, writes a checkpoint file, returns what it holds."""
    variables = variable_folder.load(folder)
    state_dict = lgce.export_state_dict(variables, config_model)
    buffers = lgce.index_buffers(config_model, "text_encoder" in variables["params"])
    files.write_state_dict(path, {**state_dict, **buffers})
    inert = lgce.inert_state(config_model)
    rows = [
        Row("-" if name in inert else "variables", name, "never called" if name in inert else "")
        for name in state_dict
    ]
    return Report([*rows, *(Row("-", name, "index buffer") for name in buffers)])


def run() -> None:
    """Entry point of the process."""
    command.run(main, "No file was written or changed; give the same command again.")


if __name__ == "__main__":
    run()

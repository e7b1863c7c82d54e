"""Imports and exports LGCE and LAVT checkpoints from the command line.

  python -m rrsis_jax.pretrained import --from lgce.pth --config configs/lgce_refsegrs.py --to DIR
  python -m rrsis_jax.pretrained export --from DIR --config configs/lgce_refsegrs.py --to lgce.pth

The folder of an import is what `config.init_from` and `rrsis_jax.predict` read.
"""

import argparse
import runpy
from collections.abc import Sequence

import ml_collections

from rrsis_jax import checkpoints, command
from rrsis_jax.pretrained import files, lgce
from rrsis_jax.pretrained.mapping import Report, Row


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; `arguments` default to those of the process."""
    options = _parser().parse_args(arguments)
    config_model = _read_config(options.config).model
    print(options.action(options.source, config_model, options.to))


def import_checkpoint(source: str, config_model: ml_collections.ConfigDict, folder: str) -> Report:
    """Reads a checkpoint file, writes a folder of variables, returns what went where."""
    variables, report = lgce.import_with_report(files.read_state_dict(source), config_model)
    checkpoints.save_variables(folder, variables)
    return report


def export_variables(folder: str, config_model: ml_collections.ConfigDict, path: str) -> Report:
    """Reads a folder of variables, writes a checkpoint file, returns what it holds."""
    variables = checkpoints.load_variables(folder)
    state_dict = lgce.export_state_dict(variables, config_model)
    buffers = lgce.index_buffers(config_model, "text_encoder" in variables["params"])
    files.write_state_dict(path, {**state_dict, **buffers})
    inert = lgce.inert_state(config_model)
    rows = [
        Row("-" if name in inert else "variables", name, "never called" if name in inert else "")
        for name in state_dict
    ]
    return Report([*rows, *(Row("-", name, "index buffer") for name in buffers)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rrsis_jax.pretrained",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="{import,export}")
    for name, action, source, target in (
        ("import", import_checkpoint, "checkpoint: .pth, .pt, .bin or .safetensors", "new folder"),
        ("export", export_variables, "folder of an import", "checkpoint: .pth or .safetensors"),
    ):
        sub = commands.add_parser(name, help=action.__doc__)
        sub.add_argument("--from", dest="source", required=True, metavar="PATH", help=source)
        sub.add_argument("--config", required=True, metavar="FILE", help="configs/NAME.py")
        sub.add_argument("--to", required=True, metavar="PATH", help=target)
        sub.set_defaults(action=action)
    return parser


def _read_config(path: str) -> ml_collections.ConfigDict:
    try:
        return runpy.run_path(path)["get_config"]()
    except (FileNotFoundError, KeyError) as error:
        raise ValueError(
            f"{path} is not a configuration file with a function get_config(); "
            "give one like configs/lgce_refsegrs.py."
        ) from error


if __name__ == "__main__":
    command.run(main, "No file was written or changed; give the same command again.")

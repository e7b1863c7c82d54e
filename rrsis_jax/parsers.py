"""The options of the commands, one function each.

They lie apart from what the commands do, so that `--help` and a mistake are answered at once:
importing the rest takes seconds. The flags of training are in `rrsis_jax.train_command`.
"""

import argparse
from typing import NoReturn

from rrsis_jax import constants


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with the fault, an example and the way to the help."""

    def __init__(self, prog: str, description: str, example: str, **more):
        super().__init__(
            prog=prog,
            description=f"{description}\n\nExample:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        self._example = " ".join(example.replace("\\\n", " ").split())

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2."""
        self.exit(
            2,
            f"Error: {message}\nFor example: {self._example}\n"
            f"`{self.prog} --help` explains every option.\n",
        )


def predict() -> Parser:
    """Returns the parser of `rrsis-predict`."""
    parser = Parser(
        "rrsis-predict",
        """Segments an image or a georeferenced scene by expressions.

A PNG or JPEG is resized to the model's square and comes back as PNG masks. Anything else is read
as a scene of any size (this needs `pip install "rrsis-jax[geo]"`), cut into overlapping tiles, and
comes back as GeoTIFFs and polygons. `--tiled` cuts a PNG or JPEG into tiles as well. After an
interruption the same command goes on where it stopped.""",
        """rrsis-predict --workdir runs/quickstart --image scene.tif \\
      --expression "building along the road" --expression "tree" --output out/""",
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--workdir", help="folder of a trained run")
    model.add_argument("--bundle", help="folder written by `rrsis-export`")
    model.add_argument("--imported", help="folder written by `rrsis-weights import`")
    parser.add_argument("--config", help="of the import: a name or a .py file; --imported only")
    parser.add_argument("--image", required=True, help="GeoTIFF, PNG, JPEG, …")
    parser.add_argument(
        "--expression", required=True, action="append", help="what to segment; may be repeated"
    )
    parser.add_argument("--output", required=True, help="folder of the results")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    parser.add_argument(
        "--threshold",
        type=float,
        default=constants.DEFAULT_THRESHOLD,
        help="probability above which a pixel is in the mask (default %(default)s)",
    )
    parser.add_argument("--tiled", action="store_true", help="cut a plain image into tiles too")
    parser.add_argument(
        "--overlap",
        type=float,
        default=constants.DEFAULT_OVERLAP,
        help="least overlap of tiles, as a fraction of a tile (default %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=int, help="tiles computed at once on all devices (default 4 a device)"
    )
    scenes = parser.add_argument_group("scenes")
    scenes.add_argument(
        "--gsd",
        type=_gsd,
        default="model",
        help="metres a pixel that the scene is resampled to for the model; 'none' keeps the "
        "scene's pixels; 'model', the default, takes what it was trained on, where that is known",
    )
    scenes.add_argument(
        "--bands", type=_bands, help="bands taken as red, green and blue, like 4,3,2"
    )
    scenes.add_argument(
        "--stretch",
        type=_stretch,
        help="percentiles that become black and white (default 2,98 unless bands have 8 bits)",
    )
    scenes.add_argument(
        "--vector", choices=("gpkg", "geojson"), default="gpkg", help="format of the polygons"
    )
    scenes.add_argument(
        "--min-area",
        type=float,
        default=1.0,
        help="square metres, or pixels without georeference, below which a polygon is left out "
        "(default %(default)s)",
    )
    return parser


def export() -> Parser:
    """Returns the parser of `rrsis-export`."""
    parser = Parser(
        "rrsis-export",
        "Exports a trained model as one folder that needs neither its config nor its code.",
        "rrsis-export --workdir runs/quickstart --output bundle/",
    )
    parser.add_argument("--workdir", required=True, help="folder of a trained run")
    parser.add_argument("--output", required=True, help="new folder of the bundle")
    return parser


def report() -> Parser:
    """Returns the parser of `rrsis-report`."""
    parser = Parser(
        "rrsis-report",
        "Writes an evaluated run as one HTML file that opens from disk.",
        "rrsis-report --workdir runs/quickstart --split test",
    )
    parser.add_argument("--workdir", required=True, metavar="FOLDER", help="the run's folder")
    parser.add_argument("--output", metavar="FILE", help="default: report_<split>.html in workdir")
    _add_evaluation(parser, constants.PICTURES, "pictures of each kind")
    return parser


def compare() -> Parser:
    """Returns the parser of `rrsis-compare`."""
    parser = Parser(
        "rrsis-compare",
        "Writes evaluations of one split side by side; differences are to the first run.",
        "rrsis-compare runs/lavt runs/lgce --split test --output comparison.html",
    )
    parser.add_argument("first", metavar="FIRST", help="folder of an evaluated run")
    parser.add_argument("others", nargs="+", metavar="OTHER", help="folders of one or more others")
    parser.add_argument("--output", default="comparison.html", metavar="FILE")
    _add_evaluation(parser, 2 * constants.PICTURES, "samples shown")
    return parser


def _add_evaluation(parser: Parser, pictures: int, shown: str) -> None:
    parser.add_argument("--split", default="test", help="an evaluated split (default %(default)s)")
    parser.add_argument(
        "--pictures",
        type=int,
        default=pictures,
        metavar="N",
        help=f"{shown} (default %(default)s)",
    )


def weights() -> Parser:
    """Returns the parser of `rrsis-weights`; `action` is `import` or `export`."""
    parser = Parser(
        "rrsis-weights",
        "Imports and exports checkpoints of LGCE and LAVT in their authors' layout. The folder of\n"
        "an import is what `config.init_from` and `rrsis-predict --imported` read.",
        "rrsis-weights import --from lgce.pth --config lgce_refsegrs --to weights/",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="{import,export}")
    for name, purpose, example, source, target in (
        (
            "import",
            "Reads a checkpoint file, writes a folder of variables, prints what went where.",
            "rrsis-weights import --from lgce.pth --config lgce_refsegrs --to weights/",
            "checkpoint: .pth, .pt, .bin or .safetensors",
            "new folder",
        ),
        (
            "export",
            "Reads a folder of variables, writes a checkpoint file, prints what it holds.",
            "rrsis-weights export --from weights/ --config lgce_refsegrs --to back.pth",
            "folder of an import",
            "checkpoint: .pth or .safetensors",
        ),
    ):
        action = actions.add_parser(
            name,
            prog=f"rrsis-weights {name}",
            help=purpose,
            description=purpose,
            example=example,
        )
        action.add_argument("--from", dest="source", required=True, metavar="PATH", help=source)
        action.add_argument(
            "--config", required=True, help="configuration of the model: a name or a .py file"
        )
        action.add_argument("--to", required=True, metavar="PATH", help=target)
    return parser


def _gsd(text: str) -> float | str | None:
    if text in ("model", "none"):
        return None if text == "none" else text
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _bands(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _stretch(text: str) -> tuple[float, float]:
    low, high = (float(part) for part in text.split(","))
    if not 0 <= low < high <= 100:
        raise ValueError(text)
    return low, high

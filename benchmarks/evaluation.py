"""How many samples a second an evaluation handles when the network costs nothing.

  python -m benchmarks.evaluation --json out/evaluation.json

The dataset is rendered at 512×512 and prepared by TFDS. The network answers with the brightness of
each pixel, so what is timed is everything around a network: read, decode, resize, send, count under
both protocols, write the predicted masks. `--steps` lets it sleep so many seconds a batch besides:
that is an accelerator, which leaves the processor alone.
"""

import pathlib
import tempfile
import time

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks import harness
from rrsis_jax.data import datasets, run_data
from rrsis_jax.data.inputs import MAIN
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.lavt.model import Lavt
from rrsis_jax.models.layers.images import normalize
from tfds_refsegrs.synthetic import triplets


class BrightnessNetwork(nn.Module):
    """Log-odds (B, H, W) that prefer the target where the image is bright.

    Attributes:
      step: seconds that the device is busy with a batch.
    """

    step: float = 0.0

    @nn.compact
    def __call__(self, images: Tree, text: Tree, train: bool = False) -> Outputs:
        """Answers without weights."""
        del text, train
        level = jnp.mean(normalize(images[MAIN]), axis=-1)
        if self.step:
            level = jax.pure_callback(self._sleep, level, level)
        return Outputs(2 * level)

    def _sleep(self, level):
        time.sleep(self.step)
        return level


class Brightness(Lavt):
    """LAVT's inputs with a network that costs nothing."""

    def __init__(self, config, step: float = 0.0):
        """Keeps the seconds that the device is busy with a batch."""
        super().__init__(config)
        self._step = step

    def network(self, axis_name: str | None = None) -> nn.Module:
        """See `contract.Model`."""
        del axis_name
        return BrightnessNetwork(self._step)


def open_data(config, folder: pathlib.Path, arguments) -> run_data.RunData:
    """Returns a rendered dataset, prepared, with a tokenizer."""
    triplets.write_folder(folder / "scenes", (arguments.scenes, 1, 1), arguments.stored)
    builder = datasets.prepare("refsegrs/folder", str(folder / "prepared"), str(folder / "scenes"))
    phrases = datasets.phrases(datasets.open_split(builder, "train", decode=False))
    text = config.model.text
    words = wordpiece.train(phrases, min(text.vocab_size, 256), text.max_tokens)
    return run_data.RunData(config, builder, words, Brightness(config).inputs())


def measure(data: run_data.RunData, arguments, step: float, masks: pathlib.Path | None) -> dict:
    """Returns one row of the table."""
    evaluator = Evaluator(Brightness(data.config, step), data)
    variables, count = parallel.replicate({}), data.num_samples("train")

    def call() -> None:
        evaluator.samples(variables, "train", masks)

    taken = harness.seconds(call, arguments.repeats)
    rates = {name: count / value for name, value in harness.spread(taken).items()}
    return {
        "step ms": f"{1e3 * step:.0f}",
        "masks written": "yes" if masks else "no",
        "samples": count,
        "samples/s": rates["seconds"],
        "fastest": rates["fastest"],
        "slowest": rates["slowest"],
        "processor ms a sample": 1e3 * harness.processor_seconds(call) / count,
    }


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--stored", type=int, default=512, help="side of the stored images")
    parser.add_argument("--size", type=int, default=480, help="evaluated at")
    parser.add_argument("--scenes", type=int, default=60, help="rendered scenes, 6 samples each")
    parser.add_argument(
        "--steps", type=float, nargs="+", default=[0.0, 0.1], help="seconds of sleep a batch"
    )
    parser.add_argument("--batch", type=int, default=8, help="samples a batch")
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config)
    config.eval.batch_size = arguments.batch
    config.data.image_size = arguments.size
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = open_data(config, folder, arguments)
        rows = [
            measure(data, arguments, step, masks)
            for step in arguments.steps
            for masks in (None, folder / "masks")
        ]
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()

"""How many samples a second the input pipeline delivers, and how long a training loop waits.

  python -m benchmarks.input_pipeline --json out/input_pipeline.json

The dataset is rendered at 512×512 and prepared by TFDS, so that what is timed is what a run does:
read a record, decode two PNGs, resize, tokenise, batch. The loop sleeps in place of its step: that
is an accelerator's step, which leaves the processor alone.
"""

import itertools
import pathlib
import tempfile
import time

from benchmarks import harness
from rrsis_jax.data import datasets, input_pipeline
from rrsis_jax.data.inputs import MAIN, ImageInput, Inputs
from rrsis_jax.data.tokenizers import wordpiece
from tfds_refsegrs.synthetic import triplets


def prepare(folder: pathlib.Path, size: int, scenes: int):
    """Returns the training split of a rendered dataset."""
    triplets.write_folder(folder / "scenes", (scenes, 1, 1), size)
    builder = datasets.prepare("refsegrs/folder", str(folder / "prepared"), str(folder / "scenes"))
    return datasets.open_split(builder, "train")


def make_batches(source, words, arguments, threads: int):
    """Returns the training batches."""
    return input_pipeline.make_train(
        source,
        words,
        inputs=Inputs({MAIN: ImageInput(arguments.size)}, target_size=arguments.size),
        batch_size=arguments.batch,
        seed=0,
        num_threads=threads,
        prefetch=max(threads, arguments.prefetch),
    )


def measure(source, words, arguments, threads: int) -> dict:
    """Returns one row of the table."""
    batches = make_batches(source, words, arguments, threads)
    for _ in range(arguments.prefetch):  # what was read ahead before the clock started
        next(batches)
    count = arguments.batches
    start = time.perf_counter(), time.process_time()
    for _ in itertools.islice(batches, count):
        continue
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return {
        "threads": threads,
        "samples/s": count * arguments.batch / wall,
        "processor ms a sample": 1e3 * processor / (count * arguments.batch),
        "waiting": f"{waiting(batches, arguments.step, count):.1%}",
    }


def waiting(batches, step: float, count: int) -> float:
    """Returns the share of its time that a loop with steps of `step` seconds waits for data."""
    waited, start = 0.0, time.perf_counter()
    for _ in range(count):
        asked = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - asked
        time.sleep(step)
    return waited / (time.perf_counter() - start)


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--stored", type=int, default=512, help="side of the stored images")
    parser.add_argument("--size", type=int, default=480, help="side of the delivered images")
    parser.add_argument("--scenes", type=int, default=8, help="rendered scenes to train on")
    parser.add_argument("--batch", type=int, default=8, help="samples a batch")
    parser.add_argument("--batches", type=int, default=40, help="timed batches")
    parser.add_argument("--prefetch", type=int, default=8, help="batches held ready")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--step", type=float, default=0.1, help="seconds of the loop's step")
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config)
    with tempfile.TemporaryDirectory() as folder:
        source = prepare(pathlib.Path(folder), arguments.stored, arguments.scenes)
        text = config.model.text
        words = wordpiece.train(
            datasets.phrases(source), min(text.vocab_size, 256), text.max_tokens
        )
        rows = [measure(source, words, arguments, threads) for threads in arguments.threads]
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()

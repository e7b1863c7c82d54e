"""How fast a dataset of RRSIS-D's kind is checked, prepared and delivered, and in what memory.

  python -m benchmarks.prepare_dataset --samples 17402 --json out/prepare_dataset.json

A few rendered scenes stand in for the images, each under many names; masks are stored as RRSIS-D's
are, as run lengths of a JPEG. Needs the extra `coco` to write them.
"""

import collections
import io
import itertools
import json
import os
import pathlib
import pickle
import resource
import tempfile
import time
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from benchmarks import harness
from rrsis_jax.data import datasets, input_pipeline
from rrsis_jax.data.inputs import MAIN, ImageInput, Inputs
from rrsis_jax.data.tokenizers import wordpiece
from tfds_referring.samples import Sample
from tfds_refsegrs.synthetic import triplets
from tfds_rrsisd import Builder

QUALITY = 90  # of the stored JPEG images


def write_tree(folder: pathlib.Path, samples: int, size: int, scenes: int) -> None:
    """Writes a tree in RRSIS-D's layout whose images are hard links to a few files."""
    images = folder / "images/rrsisd/JPEGImages"
    images.mkdir(parents=True)
    (folder / "rrsisd").mkdir()
    drawn = [triplets.make_scene(0, number, size) for number in range(scenes)]
    for number, scene in enumerate(drawn):
        Image.fromarray(scene.image).save(folder / f"{number}.jpg", quality=QUALITY)
    masks = [[_run_length(mask[..., 0]) for _, _, mask in scene.triplets] for scene in drawn]
    content = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "ship"}]}
    refs = []
    for number in range(samples):
        scene, place = number % scenes, number // scenes % len(masks[number % scenes])
        name = f"{number:05d}.jpg"
        os.link(folder / f"{scene}.jpg", images / name)
        content["images"].append({"id": number, "file_name": name, "height": size, "width": size})
        content["annotations"].append(
            {
                "id": number,
                "image_id": number,
                "category_id": 0,
                "bbox": [0, 0, 1, 1],
                "segmentation": [masks[scene][place]],
            }
        )
        phrase = drawn[scene].triplets[place][1]
        split = ("train", "train", "train", "val", "test")[number % 5]
        refs.append({"ref_id": number, "image_id": number, "ann_id": number, "split": split})
        refs[-1]["sentences"] = [{"raw": phrase}]
    (folder / "rrsisd/instances.json").write_text(json.dumps(content))
    (folder / "rrsisd/refs(unc).p").write_bytes(pickle.dumps(refs))


def _run_length(mask: np.ndarray) -> dict[str, Any]:
    """Returns a mask as RRSIS-D's authors stored theirs."""
    file = io.BytesIO()
    Image.fromarray(mask * 255).save(file, "JPEG")
    lossy = np.asfortranarray(np.asarray(Image.open(file)) > 0)
    encoded: Any = coco.encode(lossy.astype(np.uint8))  # its annotations are wrong
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


class Timer:
    """Wall and processor time of a part."""

    def __init__(self, rows: list[dict[str, Any]], part: str, samples: int):
        """Notes what is timed; `samples` of it."""
        self._rows, self._part, self._samples = rows, part, samples

    def __enter__(self) -> None:
        """Starts the clocks."""
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        """Appends the row."""
        wall, processor = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        self._rows.append(
            {
                "part": self._part,
                "samples/s": self._samples / wall,
                "processor ms a sample": 1e3 * processor / self._samples,
                "peak memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--samples", type=int, default=2000, help="RRSIS-D has 17,402")
    parser.add_argument("--stored", type=int, default=800, help="side of the stored images")
    parser.add_argument("--size", type=int, default=480, help="side of the delivered images")
    parser.add_argument("--scenes", type=int, default=8, help="rendered scenes")
    parser.add_argument("--batch", type=int, default=8, help="samples a batch")
    parser.add_argument("--batches", type=int, default=60, help="timed batches")
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        write_tree(folder / "tree", arguments.samples, arguments.stored, arguments.scenes)
        count = arguments.samples
        with Timer(rows, "read and check the tree", count):
            reading = Builder(config="folder", path=folder / "tree").read(folder / "tree")
        with Timer(rows, "encode the samples", min(count, 500)):
            collections.deque(map(Sample.encode, reading.samples[:500]), maxlen=0)
        with Timer(rows, "check, prepare and write (array_record)", count):
            builder = datasets.prepare(
                "rrsisd/folder", str(folder / "prepared"), str(folder / "tree")
            )
        source = datasets.open_split(builder, "train")
        phrases = [sample.phrase for sample in reading.samples[:1000]]
        words = wordpiece.train(phrases, 256, 20)
        batches = input_pipeline.make_train(
            source,
            words,
            inputs=Inputs({MAIN: ImageInput(arguments.size)}, arguments.size),
            batch_size=arguments.batch,
            seed=0,
            num_threads=arguments.threads,
            prefetch=arguments.threads,
        )
        collections.deque(itertools.islice(batches, arguments.threads + 2), maxlen=0)
        with Timer(rows, "training batches", arguments.batch * arguments.batches):
            collections.deque(itertools.islice(batches, arguments.batches), maxlen=0)
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()

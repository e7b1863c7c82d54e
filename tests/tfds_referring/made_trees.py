"""Tiny trees in the layouts of published datasets, with noise for pixels.

`python -m tests.tfds_referring.made_trees` writes the `dummy_data` of every builder anew.
"""

import io
import json
import pathlib
import pickle
import shutil
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from pycocotools import mask as coco

ROOT = pathlib.Path(__file__).parents[2]
DIOR = """Expressway-Service-area Expressway-toll-station airplane airport baseballfield
basketballcourt bridge chimney dam golffield groundtrackfield harbor overpass ship stadium
storagetank tenniscourt trainstation vehicle windmill"""
DIOR = DIOR.split()
RRSISD = {11: "train", 2934: "train", 110: "val", 3600: "test"}


def noise(seed, side=48):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def rle(mask):
    encoded = coco.encode(np.asfortranarray((mask > 0).astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def lossy(box, side=48):
    """A rectangle as RRSIS-D's authors stored it: grey values of a JPEG."""
    x1, y1, x2, y2 = box
    grey = np.zeros((side, side), np.uint8)
    grey[y1:y2, x1:x2] = 255
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG")
    return np.array(Image.open(file))


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def dump(root, folder, refs, instances, names=("refs(unc).p", "instances.json")):
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / names[0]).write_bytes(pickle.dumps(refs, 4))
    (root / folder / names[1]).write_text(json.dumps(instances))


def sentence(number, text):
    return {"tokens": text.split(), "raw": text, "sent_id": number, "sent": text.lower()}


def ref(number, split, category, *texts, image=None):
    return {
        "image_id": number if image is None else image,
        "split": split,
        "sentences": [sentence(number, text) for text in texts],
        "file_name": "unused.jpg",
        "category_id": category,
        "ann_id": number,
        "sent_ids": [number],
        "ref_id": number,
    }


def xml(split, box, text):
    """DIOR-RSVG's file of an image: an object of no account, then the one with a mask."""
    sides = "".join(
        f"<{side}>{x}</{side}>"
        for side, x in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<annotation><split>{split}</split><object><name>ship</name><bndbox><xmin>1</xmin>"
        "<ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox><description>A ship</description>"
        f"</object><object><name>dam</name><bndbox>{sides}</bndbox><description>{escape(text)}"
        "</description><segmentation>x</segmentation></object></annotation>"
    )


def rrsisd(root, more=()):
    """RRSIS-D: images of 48x48, masks with specks, XML beside them; `more` numbers for training."""
    refs, images, annotations = [], [], []
    for number, split in {**RRSISD, **dict.fromkeys(more, "train")}.items():
        box = [8 + number % 7, 10, 8 + number % 7 + 20, 30]
        grey, text, category = lossy(box), f"The thing number {number} & more", number % 20
        name = f"{number:05d}"
        save(noise(number), root / f"images/rrsisd/JPEGImages/{name}.jpg")
        refs.append(ref(number, split, category, text))
        images.append({"file_name": f"{name}.jpg", "height": 48, "width": 48, "id": number})
        annotations.append(
            {
                "bbox": box,
                "categories_id": category,
                "id": number,
                "image_id": number,
                "segmentation": [rle(grey)],
                "area": int(grey.sum()),
            }
        )
        file = root / f"images/rrsisd/ann_split/{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(xml(split, box, text))
    categories = [{"name": name, "id": i} for i, name in enumerate(DIOR)]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    dump(root, "rrsisd", refs, instances)
    return root


def risbench(root, more=()):
    """RISBench: ids with suffix, a copied picture, white space and a phrase without a word.

    `more` are numbers of scenes for training.
    """
    rows = {
        "train": [
            ("train_1_0", "The baseball field  on the  top ."),
            ("train_0_0", "The ship."),
            ("train_6194_0", "."),
            *((f"train_{scene}_0", f"The dam number {scene}") for scene in more),
        ],
        "val": [("train_14700_0", "I'm the left a car is parked")],
        "test": [("test_2_3", "The lower plane"), ("test_2_0", "The pier and a boat")],
    }
    root.mkdir(parents=True, exist_ok=True)
    for split, lines in rows.items():
        text = "".join(f"{name}.png {phrase}\n" for name, phrase in lines)
        (root / f"output_phrase_{split}.txt").write_text(text)
        for place, (name, _) in enumerate(lines):
            scene = int(name.split("_")[1])
            mask = np.zeros((48, 48), np.uint8)
            mask[4 : 20 + place, 6 + place : 30] = 255
            save(noise(scene), root / f"img_rgb/{name}.png")
            save(mask, root / f"mask/{name}.png")
    return root


def drone(root, name, files, classes, pixels="PNGimages"):
    """UAVid-RIS or VDD-RIS: polygons, two texts, the same crop under two classes."""
    squares = [[5, 5, 20, 5, 20, 20, 5, 20], [15, 15, 30, 15, 30, 30, 15, 30]]
    refs, llama, images, annotations = [], [], [], []
    for number, (file, split) in enumerate(files.items(), 1):
        label = file.removesuffix(".png").split("_", 3)[-1]
        category = next(i for i, known in enumerate(classes) if label.endswith(known))
        # The first two crops are copies of one.
        save(noise(max(number, 2)), root / f"images/{name}/{pixels}/{file}")
        mask = np.zeros((48, 48), np.uint8)
        mask[5:21, 5:21] = 255
        save(mask, root / f"images/{name}/annotations/{file}")
        refs.append(ref(number, split, category, f"the {label} of qwen", f"all of the {label}"))
        llama.append(ref(number, split, category, f"the {label} of llama", f"all of the {label}"))
        images.append({"file_name": file, "height": 48, "width": 48, "id": number})
        segmentation = squares[0] if number == 2 else squares
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": category,
                "segmentation": segmentation,
                "area": 425,
                "bbox": [5, 5, 25, 25],
            }
        )
    categories = [{"name": label, "id": i} for i, label in enumerate(classes)]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    dump(root, name, refs, instances, ("refs(uow).p", "instances.json"))
    (root / name / "refs_llama(uow).p").write_bytes(pickle.dumps(llama, 2))
    return root


def uavid_ris(root):
    files = {
        "seq1_000000_2_Building.png": "train",
        "seq1_000000_2_Low_Vegetation.png": "train",
        "seq16_000100_0_Road.png": "val",
        "seq21_000000_5_Moving_Car.png": "test",
    }
    classes = ["Building", "Tree", "Road", "Low_Vegetation", "Moving_Car", "Static_Car", "Human"]
    return drone(root, "uavid_ris", files, classes)


def vdd_ris(root):
    files = {
        "train_DJI_0008_1_roof.png": "train",
        "train_DJI_0008_1_wall.png": "train",
        "val_DJI_0100_0_water.png": "val",
        "test_DJI_0200_2_vehicles.png": "test",
    }
    classes = ["wall", "road", "vegetation", "vehicles", "roof", "water"]
    return drone(root, "vdd_ris", files, classes)


def nwpu(root, images="image"):
    """NWPU-Refer: polygons, boxes as xywh, two refs of one sentence, a Chinese phrase."""
    square, other = [5, 5, 20, 5, 20, 20, 5, 20], [30, 30, 44, 30, 44, 44, 30, 44]
    save(noise(1), root / f"{images}/1.jpg")
    save(noise(2), root / f"{images}/2.jpg")
    refs = [
        ref(1, "train", 7, "all planes", image=1),
        ref(2, "train", 7, "all planes", image=1),
        ref(3, "val", 8, "左上方的船", image=2),
    ]
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "bbox": [5, 5, 15, 15]}
        | {"segmentation": [polygon]}
        for number, image, category, polygon in (
            (1, 1, 7, square),
            (2, 1, 7, other),
            (3, 2, 8, square),
        )
    ]
    sizes = [{"id": i, "file_name": f"{i}.jpg", "height": 48, "width": 48} for i in (1, 2)]
    categories = [{"id": 7, "name": "plane"}, {"id": 8, "name": "ship"}]
    instances = {"images": sizes, "annotations": annotations, "categories": categories}
    dump(root, ".", refs, instances, ("new_refs(unc).p", "new_instances.json"))
    return root


BUILDERS = {"rrsisd": rrsisd, "risbench": risbench, "uavid_ris": uavid_ris, "vdd_ris": vdd_ris}
"""Every builder's official tree."""

COUNTS = {
    "rrsisd": {"train": 2, "validation": 1, "test": 1},
    "risbench": {"train": 3, "validation": 1, "test": 2},
    "uavid_ris": {"train": 4, "validation": 2, "test": 2},
    "vdd_ris": {"train": 4, "validation": 2, "test": 2},
}
"""Records of the trees, before any is left out."""


if __name__ == "__main__":
    for dataset, make in BUILDERS.items():
        folder = ROOT / f"tfds_{dataset}/dummy_data"
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)

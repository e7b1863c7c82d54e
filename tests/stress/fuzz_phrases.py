"""Cases of the phrase files of a folder in RefSegRS's layout."""

import os
import pathlib
import re
import shutil

import numpy as np

from tests.stress.fuzz_case import Case, damaged, expect, pick

IDS = ["../1", "/etc/passwd", "a\0b", ".", "..", "a/b", "C:1", "1\u200b", "x" * 70_000, "ключ"]
IDS += ["1\x1b[2J", "1\t", "\ufeff1", "~", "-rf", "1.tif", "images", "%00", "１"]
PHRASES = ["", " ", "\t", "\0", "\x1b[2J", "…", "red\0car", "red\rcar", "\u202ered", "x" * 200_000]
PHRASES += ["машина", "赤い車", "🚗", "straße", "red\tcar", "red\x7fcar", "a" * 20, "\u200b", "??"]
ENCODINGS = ["utf-16", "utf-16-le", "latin-1", "cp1251", "utf-32", "utf-8-sig", "gbk", "utf-7"]


def phrases_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Phrase files."""
    from tfds_referring import phrase_files

    shutil.copytree(material, folder, dirs_exist_ok=True)
    file = folder / "output_phrase_train.txt"
    label = str(rng.choice(["id", "phrase", "coding", "ends", "sep", "bytes", "lines", "kind"]))
    lines = ["0 red car", "1 tree along the road", "2 building"]
    at = int(rng.integers(3))
    content, good = "\n".join(lines).encode(), False
    match label:
        case "id":
            lines[at] = f"{pick(rng, IDS)} red car"
            content = "\n".join(lines).encode()
        case "phrase":
            lines[at] = f"{at} {pick(rng, PHRASES)}"
            content = "\n".join(lines).encode()
            good = True
        case "coding":
            coding = pick(rng, ENCODINGS)
            lines[at] = f"{at} {pick(rng, ['straße', 'дом', 'red car'])}"
            content = "\n".join(lines).encode(coding, "replace")
            good = True
        case "ends":
            content = (
                pick(rng, ["\r\n", "\r", "\n\n", "\x85", "\u2028", "\x0b"]).join(lines).encode()
            )
            good = True
        case "sep":
            lines[at] = lines[at].replace(" ", pick(rng, ["\t", "  ", "", ",", "\u00a0", ";"]), 1)
            content = "\n".join(lines).encode()
            good = True
        case "bytes":
            how, content = damaged(rng, content)
            label, good = f"bytes {how}", True
        case "lines":
            content = pick(
                rng,
                [
                    b"\n".join([content] * 2),
                    b"\n" * 2000 + content,
                    content + b"\n" * 2000,
                    b" " * 100_000 + content,
                    b"7 car\n" * 300,
                    content + b"\x1a",
                    b"\xef\xbb\xbf" * 2 + content,
                ],
            )
            good = True
        case _:
            file.unlink()
            content = None
            pick(
                rng,
                [lambda: None, file.mkdir, lambda: os.mkfifo(file), lambda: file.symlink_to(file)],
            )()
    if content is not None:
        file.write_bytes(content)

    def check(splits: dict) -> None:
        triplets = splits["train"]
        text = content.decode("utf-8-sig")
        whole = [line for line in text.splitlines() if line.strip("\ufeff \t\x1a")]
        expect(len(triplets) == len(whole), f"{len(triplets)} of {len(whole)} lines were read")
        for triplet, line in zip(triplets, whole, strict=True):
            image_id, phrase = re.split(r"[ \t]+", line.strip(" \t\r"), maxsplit=1)
            expect(image_id == triplet.image_id, f"{triplet.image_id!r} of {line!r}")
            expect(triplet.phrase == phrase.strip(), f"{line!r}")
            expect(any(map(str.isalnum, triplet.phrase)), f"no word in {triplet.phrase!r}")
            control = any(ord(sign) < 32 and sign != "\t" for sign in triplet.phrase)
            expect(not control, f"control characters in {triplet.phrase!r}")
            expect(triplet.image.resolve().is_relative_to(folder.resolve()), f"{triplet.image}")

    def call() -> dict:
        phrase_files.fingerprint(folder)
        return phrase_files.read_folder(folder)

    return Case(label, call, (file.name,), check if good else None)

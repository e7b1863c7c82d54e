"""What a stage takes over from the runs of the stages before it."""

import re
from collections.abc import Collection, Mapping

from rrsis_jax.models.dicor.stages import COARSE, GUIDE, JOINT, REFINER
from rrsis_jax.types import Array

_BLOCK = re.compile(r"(params/decoder/mixer/blocks_\d+)/((norm1|attention|norm2|mlp)/.*)")
_WORDS = re.compile(r"params/decoder/mixer/blocks_\d+/words_.*")
_PARTS = {
    "guide": ("params/guide/",),
    "refiner": ("params/refiner/", "batch_stats/refiner/"),
}
_OWN_PARTS = {COARSE: (), REFINER: ("refiner",), GUIDE: ("guide",), JOINT: ("guide", "refiner")}


def adopt(
    flat: Mapping[str, Array], stage: str, carried: bool
) -> tuple[dict[str, Array], dict[str, str]]:
    """Maps the variables of a run onto a stage's; see `contract.Model.adopt`.

    Args:
      flat: path → array, of a run of any stage.
      stage: that is started.
      carried: whether the joint stage starts from the coarse stage's mixing blocks.

    Raises:
      ValueError: if the run is of the joint stage and another one is started.
    """
    joint = any(_WORDS.fullmatch(path) for path in flat)
    if joint and stage != JOINT:
        raise ValueError(
            f"These weights are of DiCoR's joint stage, and the stage {stage!r} needs a coarse "
            "network: name a run of the stage 'coarse' in init_from."
        )
    adopted, left_out = dict(flat), {}
    for part, beginnings in _PARTS.items():
        theirs = [path for path in flat if path.startswith(beginnings)]
        if part not in _OWN_PARTS[stage]:
            for path in theirs:
                left_out[path] = f"the stage {stage!r} has no {part}"
                del adopted[path]
        elif not theirs and stage != JOINT:
            left_out |= dict.fromkeys(beginnings, f"the {part} is what this stage trains")
    if stage == JOINT and not joint:
        _into_words(adopted, left_out, carried)
    return adopted, left_out


def _into_words(adopted: dict[str, Array], left_out: dict[str, str], carried: bool) -> None:
    """Moves the blocks of the coarse mixing into those that read the words."""
    left_out["params/text_norm/"] = "earlier stages have no norm of weighed words"
    for path in list(adopted):
        block = _BLOCK.fullmatch(path)
        if not block:
            continue
        value = adopted.pop(path)
        for own in ("words_", "image_"):
            left_out[f"{block[1]}/{own}"] = "earlier stages mix without words"
        if carried:
            adopted[f"{block[1]}/scales/{block[2]}"] = value
        else:
            left_out[path] = "model.mixer.carried is False"
            left_out[f"{block[1]}/scales/"] = "model.mixer.carried is False"


def lacking(paths: Collection[str], stage: str, refines: bool) -> str:
    """Returns a sentence if a stage is started without those before it; see `contract.Model`.

    Args:
      paths: of the variables that it starts from.
      stage: that is started.
      refines: whether the joint network has a refiner.
    """
    needed = {COARSE: (), REFINER: ("coarse",), GUIDE: ("coarse",)}.get(
        stage, ("coarse", "guide", *(("refiner",) if refines else ()))
    )
    beginnings = {"coarse": ("params/decoder/",), **_PARTS}
    absent = [
        part for part in needed if not any(path.startswith(beginnings[part]) for path in paths)
    ]
    if not absent:
        return ""
    return (
        f"DiCoR's stage {stage!r} starts from what the stage{'s'[: len(needed) - 1]} "
        f"{', '.join(needed)} {'has' if len(needed) == 1 else 'have'} trained, and init_from "
        f"brings no weights of {', '.join(absent)}: name the run or the file in init_from."
    )

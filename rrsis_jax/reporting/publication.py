"""An exported model on its way to the Hugging Face hub: checked, and shown."""

import dataclasses
import pathlib
from collections.abc import Mapping

from rrsis_jax.hub_address import CARD
from rrsis_jax.prediction import bundle
from rrsis_jax.reporting import model_card


@dataclasses.dataclass(frozen=True)
class Publication:
    """What would go to the hub.

    Attributes:
      repo: "owner/name".
      card: Markdown, see `model_card.render`.
      bundle: the other files by their names in the repository.
    """

    repo: str
    card: str
    bundle: Mapping[str, pathlib.Path]

    @property
    def files(self) -> dict[str, pathlib.Path | bytes]:
        """All files by their names in the repository, the card's as its content."""
        return {CARD: self.card.encode(), **self.bundle}

    def describe(self) -> str:
        """Returns the names and sizes of all files, and the card."""
        sizes = {CARD: len(self.card.encode())}
        sizes |= {name: path.stat().st_size for name, path in self.bundle.items()}
        lines = [
            f"To {self.repo}, {len(sizes)} files of {sum(sizes.values()):,} bytes in all:",
            *(f"{size:>13,} bytes  {name}" for name, size in sizes.items()),
        ]
        return "\n".join(lines) + f"\n\n{CARD}:\n\n{self.card}"


def prepare(folder: pathlib.Path | str, repo: str, licence: str) -> Publication:
    """Puts together what goes to the hub.

    Args:
      folder: a bundle.
      repo: "owner/name".
      licence: of the weights, by the hub's name.

    Raises:
      ValueError: if the folder is no whole bundle, or holds no metrics of its model.
    """
    facts = bundle.check(folder).get("facts", {})
    if not facts.get("splits"):
        step = facts.get("checkpoint_step")
        which = "its model" if step is None else f"its checkpoint, step {step},"
        raise ValueError(
            f"{folder} holds no metrics of {which} and a model without them is not uploaded: "
            "finish the training, or evaluate the run with its own configuration (`rrsis-train "
            "--config=… --workdir=… --mode=evaluate`), and export it anew."
        )
    return Publication(repo, model_card.render(facts, repo, licence), bundle.files(folder))

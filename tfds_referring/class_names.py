"""The classes of a dataset: how its files spell them and how its phrases mention them."""

import dataclasses
import re
from collections.abc import Mapping

OTHER = "other"
"""The category of what no class covers."""


@dataclasses.dataclass(frozen=True)
class ClassNames:
    """A closed list of classes.

    Attributes:
      names: the classes in words, such as "ground track field".
      aliases: other words for a class → its name.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Refuses an alias of a class that is not in the list."""
        strays = sorted(set(self.aliases.values()) - set(self.names))
        if strays:
            raise ValueError(f"aliases mean {', '.join(strays)}, which is no class of the list")

    @property
    def labels(self) -> tuple[str, ...]:
        """The label names of the feature `category`: the classes and "other"."""
        return (*(name for name in self.names if name != OTHER), OTHER)

    def spelled(self, label: str) -> str | None:
        """Returns the class that a file's label means, whatever its case, blanks and plural.

        Args:
          label: such as "Expressway-Service-area" or "groundtrackfield".

        Returns:
          One of `names`; None if it is none of them.
        """
        squeezed = {_squeeze(name): name for name in self.names}
        squeezed |= {_squeeze(alias): name for alias, name in self.aliases.items()}
        return squeezed.get(_squeeze(label))

    def mentioned(self, phrase: str) -> str:
        """Returns the class that a phrase mentions first.

        Of several that begin at one word the longest counts; case, plural and hyphens do not
        matter.

        Args:
          phrase: a referring expression, such as "The baseball field next to a road".

        Returns:
          One of `names`, or "other".
        """
        words = _words(phrase)
        spellings = {tuple(_words(name)): name for name in self.names}
        spellings |= {tuple(_words(alias)): name for alias, name in self.aliases.items()}
        longest = sorted(spellings, key=len, reverse=True)
        for start in range(len(words)):
            for spelling in longest:
                if tuple(words[start : start + len(spelling)]) == spelling:
                    return spellings[spelling]
        return OTHER


def _squeeze(label: str) -> str:
    return re.sub(r"[\W_]+", "", label).lower().removesuffix("s")


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[^\W_]+", text.lower())]


def _singular(word: str) -> str:
    if word.endswith(("sses", "uses", "xes", "ches", "shes")):
        return word[:-2]
    return word if word.endswith(("ss", "us")) else word.removesuffix("s")

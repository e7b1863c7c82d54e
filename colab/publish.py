"""Writes where the repository is published into the notebooks, and badges that open them in Colab.

  python colab/publish.py name/rrsis_jax

An empty name takes both away again: a link to a place that is not there is worse than none.
"""

import json
import pathlib
import re
import sys

_BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/colab/{name}.ipynb)"
)
_ANY_BADGE = re.compile(r" ?\[!\[Open in Colab\]\(\S+\)\]\(\S+\)")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def publish(folder: pathlib.Path, repository: str) -> None:
    """Changes the notebooks of a folder and the table in its README.

    Args:
      folder: of the notebooks.
      repository: like `name/rrsis_jax`, on GitHub; "" for none.

    Raises:
      ValueError: if that is no name of a repository.
    """
    if repository and not _NAME.fullmatch(repository):
        raise ValueError(f"{repository!r} is no repository on GitHub; one is name/rrsis_jax.")
    readme = folder / "README.md"
    text = _ANY_BADGE.sub("", readme.read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*.ipynb")):
        badge = _BADGE.format(repository=repository, name=path.stem) if repository else ""
        notebook = json.loads(path.read_text(encoding="utf-8"))
        _set_badge(notebook["cells"][0], badge)
        _set_repository(notebook["cells"][1], repository)
        content = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(f"{content}\n", encoding="utf-8")
        link = f"[`{path.name}`]({path.name})"
        text = text.replace(link, f"{link} {badge}".rstrip())
    readme.write_text(text, encoding="utf-8")


def _set_badge(cell: dict, badge: str) -> None:
    """Puts the badge below the title, instead of one that is there."""
    title, _, *rest = [line for line in cell["source"] if not _ANY_BADGE.match(line)]
    if rest[0] == "\n":  # of the badge that was there
        del rest[0]
    cell["source"] = [title, "\n", *([f"{badge}\n", "\n"] if badge else []), *rest]


def _set_repository(cell: dict, repository: str) -> None:
    cell["source"] = [
        re.sub(r'^REPOSITORY = "[^"]*"', f'REPOSITORY = "{repository}"', line)
        for line in cell["source"]
    ]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the repository: python colab/publish.py name/rrsis_jax")
    try:
        publish(pathlib.Path(__file__).parent, sys.argv[1])
    except ValueError as error:
        sys.exit(f"Error: {error}")

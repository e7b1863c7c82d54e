"""Addresses of files and folders on the Hugging Face hub: hf://owner/name[@revision][/path]."""

import dataclasses
import pathlib
import re

SCHEME = "hf://"
CARD = "README.md"  # what the hub shows of a repository
FORM = "hf://owner/name[@revision][/path]"
_NAME = r"[A-Za-z0-9][\w.-]*"
_REPO = re.compile(rf"{_NAME}/{_NAME}", re.ASCII)
_ADDRESS = re.compile(
    rf"{SCHEME}(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>{_NAME}))?(?:/(?P<path>.+?)/?|/)?",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class Address:
    """A place on the hub.

    Attributes:
      repo: "owner/name".
      revision: branch, tag or commit; "" for the main branch.
      path: file or folder in the repository, with forward slashes; "" for its root.
    """

    repo: str
    revision: str = ""
    path: str = ""

    def __str__(self) -> str:
        revision, path = (f"@{self.revision}" if self.revision else ""), f"/{self.path}"
        return f"{SCHEME}{self.repo}{revision}{path if self.path else ''}"


def is_address(source: pathlib.Path | str) -> bool:
    """Tells whether a source of weights is meant to be on the hub."""
    return str(source).startswith(SCHEME)


def parse(text: str) -> Address:
    """Reads an address.

    Raises:
      ValueError: if it has another form, or its path leads out of the repository.
    """
    match = _ADDRESS.fullmatch(text)
    if not match or not is_valid(text):
        raise ValueError(
            f"{text!r:.200} is no address of the Hugging Face hub; expected {FORM}, like "
            "hf://facebook/sam2.1-hiera-large/sam2.1_hiera_large.pt."
        )
    return Address(match["repo"], match["revision"] or "", match["path"] or "")


def is_valid(text: str) -> bool:
    """Tells whether a text is an address whose path stays in its repository."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and (not match["path"] or stays_inside(match["path"]))


def is_repo(text: str) -> bool:
    """Tells whether a text names a repository of the hub, as "owner/name"."""
    return _REPO.fullmatch(text) is not None


def stays_inside(name: str) -> bool:
    """Tells whether a path with forward slashes lies in the folder that it is relative to."""
    parts = name.split("/")
    return name.isprintable() and not {"", ".", ".."} & set(parts) and not re.search(r"[\\:]", name)

"""Where weights come from: a file, a folder, or an address on the hub; and what they were."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from rrsis_jax import errors, hub_address, io
from rrsis_jax.weights import hub, variables_file, weight_files

FILE = "weights_source.json"


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights on this machine.

    Attributes:
      name: as they were asked for.
      path: the file that holds them, or the index of several.
      inside: the same in its repository, or the file's name.
      commit: of the repository; "" where they are no repository's.
    """

    name: str
    path: pathlib.Path
    inside: str
    commit: str = ""

    @property
    def holds_variables(self) -> bool:
        """Whether they are variables of this project, not weights in their authors' layout."""
        return self.path.name == variables_file.NAME

    def record(self) -> dict[str, Any]:
        """Returns name, commit, and the SHA-256 of each file; of imported ones what they were."""
        place = pathlib.PurePosixPath(self.inside)
        used = dict.fromkeys([self.path, *weight_files.parts(self.path)])
        record = {
            "source": self.name,
            "commit": self.commit,
            "files": {str(place.with_name(path.name)): hub.sha256(path) for path in used},
        }
        earlier = load(self.path.parent) if self.holds_variables else []
        return {**record, "made_from": earlier} if earlier else record


def find(name: str | pathlib.Path, commit: str = "") -> Source:
    """Finds weights; those on the hub are downloaded unless they were before.

    Args:
      name: a file, a folder (see `weight_files.choose`), or hf://owner/name[@revision][/path]. An
        address means the same commit for as long as the process lives.
      commit: of an address, in place of its revision; "" for that.

    Raises:
      ValueError: if there is no such thing, or which file is meant is not clear.
    """
    if hub_address.is_address(name):
        return _download(str(name), commit)
    path = weight_files.in_folder(name)
    return Source(str(name), path, path.name)


def check(name: str) -> None:
    """Refuses what `find` would refuse, as far as that can be told without a connection.

    Raises:
      ValueError: see `find`.
    """
    if hub_address.is_address(name):
        hub_address.parse(name)
    elif not weight_files.in_folder(name).is_file():
        raise ValueError(
            f"There are no weights {name}: expected a file, a folder or {hub_address.FORM}."
        )


def find_listed(name: str | pathlib.Path, listing: str) -> Source:
    """Finds a folder of which one file lists the others, as a bundle's checksums do.

    Args:
      name: a folder, or hf://owner/name[@revision][/path].
      listing: name of a file whose lines each end with two spaces and the name of a file.

    Returns:
      The listing on this machine, with all that it lists beside it.

    Raises:
      ValueError: if it is an address, and the listing is not there or names what is not.
    """
    if not hub_address.is_address(name):
        return Source(str(name), pathlib.Path(name) / listing, listing)
    snapshot = hub.look(hub_address.parse(str(name)))
    prefix = f"{snapshot.address.path}/" if snapshot.address.path else ""
    if prefix + listing not in snapshot.names:
        raise ValueError(
            f"{name} is no bundle: there is no {listing} in it. {_contents(snapshot.names)}"
        )
    folder = hub.download(snapshot, [prefix + listing]) / prefix
    lines = (folder / listing).read_text(encoding="utf-8", errors="replace").splitlines()
    names = [prefix + line.partition("  ")[2] for line in lines]
    absent = [one for one in names if one not in snapshot.names]
    if absent:
        raise ValueError(
            f"{name} is no whole bundle: it lacks {errors.listing(absent)}. Upload it anew with "
            "`rrsis-export --push`."
        )
    hub.download(snapshot, names)
    return Source(str(name), folder / listing, prefix + listing, snapshot.commit)


def keep(folder: pathlib.Path, sources: Iterable[Source]) -> None:
    """Writes what weights were to a folder, unless it has that already or there are none."""
    records = [source.record() for source in sources]
    if records and not (folder / FILE).exists():
        text = json.dumps({"sources": records}, indent=2, ensure_ascii=False)
        io.write_text(folder / FILE, text + "\n")


def load(folder: pathlib.Path | str) -> list[dict[str, Any]]:
    """Returns the records that `keep` wrote to a folder; none if it has none.

    Raises:
      ValueError: if the file cannot be read.
    """
    path = pathlib.Path(folder) / FILE
    if not path.is_file():
        return []
    records = io.read_json(path).get("sources")
    if not isinstance(records, list) or not all(isinstance(one, Mapping) for one in records):
        raise ValueError(f"{path} does not say where weights are from. Restore a backup of it.")
    return records


def commits(folder: pathlib.Path | str) -> dict[str, str]:
    """Returns name → commit of the sources that a folder has records of."""
    return {str(one.get("source")): str(one.get("commit", "")) for one in load(folder)}


@functools.cache
def _download(name: str, commit: str) -> Source:
    address = hub_address.parse(name)
    snapshot = hub.look(dataclasses.replace(address, revision=commit or address.revision))
    inside = _inside(snapshot)
    path = hub.download(snapshot, [inside]) / inside
    parts = weight_files.parts(path)
    if parts != [path]:
        place = pathlib.PurePosixPath(inside)
        hub.download(snapshot, [str(place.with_name(part.name)) for part in parts])
    return Source(name, path, inside, snapshot.commit)


def _inside(snapshot: hub.Snapshot) -> str:
    """Returns the file of a repository that an address means."""
    path, names = snapshot.address.path, snapshot.names
    if path in names:
        return path
    prefix = f"{path}/" if path else ""
    below = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    if not below and not snapshot.complete:
        raise hub.absent(snapshot.address, path)
    if not below:
        raise ValueError(f"{snapshot.address} is not there. {_contents(names)}")
    folders = sorted({name.partition("/")[0] for name in below if "/" in name})
    files = [name for name in below if "/" not in name]
    return prefix + weight_files.choose(files, snapshot.address, folders)


def _contents(names: Iterable[str]) -> str:
    return f"The repository holds {errors.listing(sorted(names)) or 'nothing'}."

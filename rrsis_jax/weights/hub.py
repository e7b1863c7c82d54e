"""The Hugging Face hub's client: the only module that talks to it.

Its own settings hold: `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_CACHE`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
"""

import contextlib
import dataclasses
import glob
import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import huggingface_hub
from absl import logging
from huggingface_hub import constants
from huggingface_hub import errors as hub_errors
from huggingface_hub.hf_api import HfApi, RepoSibling

from rrsis_jax import errors, hub_address
from rrsis_jax.hub_address import CARD, Address

_MAIN = constants.DEFAULT_REVISION
_HIDDEN = (".gitattributes", CARD)  # a repository has them beside what was uploaded


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
      address: as it was asked for.
      commit: the one that the address's revision means.
      names: of its files; without a connection only of those that were downloaded before.
      complete: whether these are all.
      sums: file name → SHA-256 of those that the hub states it of, the large ones.
    """

    address: Address
    commit: str
    names: tuple[str, ...]
    complete: bool = True
    sums: Mapping[str, str] = dataclasses.field(default_factory=dict)


def look(address: Address) -> Snapshot:
    """Asks what a repository holds, without a connection the cache.

    Raises:
      ValueError: if the hub does not have it, does not give it, or cannot be reached and nothing
        of it was downloaded before.
    """
    with _told(address):
        try:
            info = _api().model_info(
                address.repo, revision=address.revision or None, files_metadata=True
            )
        except OSError as error:
            if not _is_unreachable(error):
                raise
            snapshot = _cached(address)
            logging.warning(
                "The hub cannot be reached; of %s, commit %s, what was downloaded before is taken.",
                address,
                snapshot.commit,
            )
            return snapshot
    files = info.siblings or []
    strange = [file.rfilename for file in files if not hub_address.stays_inside(file.rfilename)]
    if strange:
        raise ValueError(
            f"{address} lists {strange[0]!r:.80}, which would lie outside of its folder; nothing "
            "of it is read."
        )
    sums = {file.rfilename: file.lfs.sha256 for file in files if file.lfs}
    return Snapshot(address, info.sha or "", tuple(file.rfilename for file in files), sums=sums)


def download(snapshot: Snapshot, names: Iterable[str]) -> pathlib.Path:
    """Brings files of a repository into the hub's cache, with a progress bar.

    Args:
      snapshot: made by `look`.
      names: of its files.

    Returns:
      The folder that they lie in by these names.

    Raises:
      ValueError: if they cannot be had, or are not those that the hub names.
    """
    address, wanted = snapshot.address, list(names)
    with _told(address):
        folder = pathlib.Path(
            huggingface_hub.snapshot_download(
                address.repo,
                revision=address.revision or _MAIN,
                allow_patterns=[glob.escape(name) for name in wanted],
                endpoint=constants.ENDPOINT,
                library_name="rrsis-jax",
            )
        )
    if folder.name != snapshot.commit:
        raise ValueError(
            f"{address} was changed while it was read, from {snapshot.commit} to {folder.name}. "
            "Give the same command again."
        )
    for name in wanted:
        path = folder / name
        if not path.is_file():
            raise absent(address, name)
        if name in snapshot.sums and sha256(path) != snapshot.sums[name]:
            raise ValueError(
                f"{path} is not the file that {address} holds: its SHA-256 is not "
                f"{snapshot.sums[name]}. Remove it and give the same command again."
            )
    return folder


def push(
    repo: str, files: Mapping[str, pathlib.Path | bytes], private: bool, overwrite: bool
) -> Address:
    """Makes a repository hold these files and no others, in one commit.

    Args:
      repo: "owner/name"; made if there is none.
      files: name in the repository → a file on disk, or its content.
      private: whether a new repository is one.
      overwrite: whether files that are there may be replaced or removed.

    Returns:
      Where they are now, with the commit.

    Raises:
      ValueError: if there is no token, the hub refuses, or the repository holds other files and
        `overwrite` is false.
    """
    address, api = Address(repo), _api(check_token(repo))
    with _told(address):
        there = _files_of(api, repo)
        others = {name: file for name, file in (there or {}).items() if name not in _HIDDEN}
        differing = sorted(
            name for name, file in others.items() if not _is_same(file, files.get(name))
        )
        if differing and not overwrite:
            raise ValueError(
                f"{repo} exists and holds other files, {errors.listing(differing)}: choose another "
                "name, or replace what it holds with --overwrite."
            )
        if there is None:
            api.create_repo(repo, private=private)
        changes: list = [
            huggingface_hub.CommitOperationDelete(name) for name in others if name not in files
        ]
        changes += [
            huggingface_hub.CommitOperationAdd(name, content)
            for name, content in files.items()
            if not (there and name in there and _is_same(there[name], content))
        ]
        if not changes:
            return dataclasses.replace(address, revision=api.model_info(repo).sha or "")
        done = api.create_commit(repo, changes, commit_message="A model of rrsis_jax")
    return dataclasses.replace(address, revision=done.oid)


def check_token(repo: str) -> str:
    """Returns the token that uploads to a repository.

    Raises:
      ValueError: if there is none.
    """
    token = huggingface_hub.get_token()
    if not token:
        raise ValueError(
            f"Uploading to {repo} needs a token of the Hugging Face hub, and there is none: log in "
            "with `hf auth login`, or set HF_TOKEN to a token that may write."
        )
    return token


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def absent(address: Address, name: str) -> ValueError:
    """Returns the fault that a file of a repository is neither here nor to be had."""
    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "there is no connection"
    wanted = dataclasses.replace(address, path=name)
    return ValueError(
        f"{wanted} was not downloaded before and {constants.ENDPOINT} cannot be reached ({why}): "
        f"download {name or 'the weights'} from {page(address)} where there is a connection, copy "
        "it to this machine and name its path instead."
    )


def page(address: Address) -> str:
    """Returns the web page of what an address means."""
    where = f"/tree/{address.revision or _MAIN}/{address.path}".rstrip("/")
    return f"{constants.ENDPOINT}/{address.repo}{where}"


def _api(token: str | None = None) -> HfApi:
    return HfApi(endpoint=constants.ENDPOINT, token=token, library_name="rrsis-jax")


def _cached(address: Address) -> Snapshot:
    """Returns what was downloaded before."""
    folder = pathlib.Path(
        huggingface_hub.snapshot_download(
            address.repo, revision=address.revision or _MAIN, local_files_only=True
        )
    )
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Snapshot(address, folder.name, tuple(sorted(names)), complete=False)


def _files_of(api: HfApi, repo: str) -> dict[str, RepoSibling] | None:
    """Returns the files of a repository by name; None if there is no such repository."""
    try:
        info = api.model_info(repo, files_metadata=True)
    except hub_errors.GatedRepoError:
        raise
    except hub_errors.RepositoryNotFoundError:
        return None
    return {file.rfilename: file for file in info.siblings or []}


def _is_same(file: RepoSibling, ours: pathlib.Path | bytes | None) -> bool:
    """Tells whether a file of the hub has our content: it states Git's or LFS's digest of it."""
    if ours is None:
        return False
    if file.lfs:
        own = hashlib.sha256(ours).hexdigest() if isinstance(ours, bytes) else sha256(ours)
        return own == file.lfs.sha256
    content = ours if isinstance(ours, bytes) else ours.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.blob_id


@contextlib.contextmanager
def _told(address: Address) -> Iterator[None]:
    """Tells the client's faults in a sentence that says what to do."""
    try:
        yield
    except hub_errors.GatedRepoError as error:
        raise ValueError(
            f"{address.repo} is given to those only who accept its terms: do so at "
            f"{page(Address(address.repo))}, then log in with `hf auth login`."
        ) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"The hub has no repository {address.repo}, or it is private: check the name, or log "
            "in with `hf auth login`."
        ) from error
    except hub_errors.RevisionNotFoundError as error:
        raise ValueError(
            f"{address.repo} has no revision {address.revision!r}: name one of its branches, tags "
            "or commits."
        ) from error
    except OSError as error:
        if _is_unreachable(error):
            raise absent(address, address.path) from error
        if not isinstance(error, hub_errors.HfHubHTTPError):
            raise  # of the disk
        raise ValueError(
            f"The hub refused {address.repo}: {errors.first_line(error):.200}. Check that the "
            "token of `hf auth login` or HF_TOKEN may do that, or try again later."
        ) from error


def _is_unreachable(error: OSError) -> bool:
    """Tells the client's faults of the network from answers of the hub and faults of the disk."""
    if isinstance(error, hub_errors.LocalEntryNotFoundError):
        return True
    return error.errno is None and not isinstance(error, hub_errors.HfHubHTTPError)

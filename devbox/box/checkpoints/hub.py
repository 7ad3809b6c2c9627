"""Files of a Hugging Face model repository, through huggingface_hub, which resumes after a cut."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Iterator, Optional, Protocol

from devbox.box import packages
from devbox.box.address import is_readable
from devbox.box.checkpoints.source import Room, Source, any_size

PACKAGE = "huggingface_hub>=0.30"
_PUBLIC = "https://huggingface.co"


class _Large(Protocol):
    sha256: str


class _Entry(Protocol):
    """What is used of huggingface_hub's RepoFile."""

    size: int
    blob_id: str
    lfs: Optional[_Large]


def endpoint() -> str:
    """The Hub's address, as its own library takes it."""
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC).rstrip("/")


def fetch(source: Source, part: Path, secret: str, room: Room = any_size) -> Path:
    """The file or folder in `part`. OSError says what the Hub refused and the fix."""
    library = _library(secret)
    with _explained(source):
        room(_size(library, source, secret))
        return _fetch(library, source, part, secret)


def push(source: Source, file: Path, secret: str, *, replace: bool) -> bool:
    """Put a file at its place in a repository that is there; False when it has it already. OSError
    when the repository has another one and `replace` is not set."""
    library = _library(secret)
    with _explained(source):
        api = library.HfApi(token=secret or None)
        revision = source.revision or "main"
        there = api.get_paths_info(source.place, [source.path], revision=revision)
        if there and _is(there[0], file):
            return False
        if there and not replace:
            raise OSError(f"{source.place} has another {source.path}: --replace puts this there")
        api.upload_file(
            path_or_fileobj=str(file),
            path_in_repo=source.path,
            repo_id=source.place,
            revision=revision,
            commit_message=f"Upload {source.path}",
        )
        return True


def _is(entry: _Entry, file: Path) -> bool:
    """Whether the repository's file holds the same bytes, by its SHA-256 or its git blob id."""
    large = entry.lfs
    size = file.stat().st_size
    if entry.size != size:
        return False
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % size)  # noqa: S324
    with file.open("rb") as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    return digest.hexdigest() == (large.sha256 if large else entry.blob_id)


def _library(secret: str) -> ModuleType:
    extra = packages.provide([PACKAGE], lambda text: print(text, flush=True))
    sys.path += [str(extra)] if extra else []
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub import constants

    if secret and is_readable(constants.ENDPOINT):
        raise OSError(f"{constants.ENDPOINT} is plain http: the secret could be read on the way")
    return huggingface_hub


def _size(library: ModuleType, source: Source, secret: str) -> int:
    """Bytes of the file, or of all files in the folder."""
    api = library.HfApi(token=secret or None)
    if not source.is_folder:
        url = library.hf_hub_url(source.place, source.path, revision=source.revision or None)
        return int(library.get_hf_file_metadata(url, token=secret or None).size or 0)
    entries = api.list_repo_tree(
        source.place,
        source.path.rstrip("/") or None,
        recursive=True,
        revision=source.revision or None,
    )
    return sum(int(getattr(entry, "size", 0) or 0) for entry in entries)


def _fetch(library: ModuleType, source: Source, part: Path, secret: str) -> Path:
    folder, inside = part / "repository", source.path.rstrip("/")
    options = {
        "revision": source.revision or None,
        "token": secret or None,
        "local_dir": folder,
    }
    if not source.is_folder:
        return Path(library.hf_hub_download(source.place, source.path, **options))
    patterns = [f"{inside}/*"] if inside else None
    library.snapshot_download(source.place, allow_patterns=patterns, **options)
    if not (folder / inside).is_dir():
        raise OSError(f"{source.place} has no folder {source.path}")
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own notes
    return folder / inside


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """What the Hub refuses as an OSError."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise OSError(
            f"{source.place} is gated: accept its terms at {endpoint()}/{source.place}, "
            "and give this checkpoint a secret, such as hf:token"
        ) from None
    except errors.RepositoryNotFoundError:
        raise OSError(
            f"the Hub has no repository {source.place} that this token may read"
        ) from None
    except errors.RevisionNotFoundError:
        raise OSError(f"{source.place} has no revision {source.revision}") from None
    except errors.EntryNotFoundError:
        raise OSError(f"{source.place} has no file {source.path}") from None
    except errors.HfHubHTTPError as error:
        # Its text may hold a signed address.
        answer = getattr(error.response, "status_code", "nothing")
        raise OSError(f"fetching {source.place} failed: the Hub answers {answer}") from None

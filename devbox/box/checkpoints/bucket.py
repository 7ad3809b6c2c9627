"""Objects of a Google Cloud Storage bucket, in parallel pieces, each verified by its crc32c."""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from devbox.box import packages
from devbox.box.address import is_loopback
from devbox.box.checkpoints.source import Room, Source, any_size

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

PACKAGE = "google-cloud-storage>=2.14"
_PIECE = 32 << 20
_WORKERS = 8


def fetch(source: Source, part: Path, secret: str, room: Room = any_size) -> Path:
    """The object, or the folder of all below a prefix, in `part`. OSError says what was refused
    and the fix. An object that is whole is not fetched again."""
    with _explained(source, "Viewer"):
        client = _client(secret)
        if not source.is_folder:
            blob = client.bucket(source.place).blob(source.path)
            blob.reload(timeout=60)
            room(int(blob.size or 0))
            return _object(blob, part / "file")
        return _below(client, source, part / "folder", room)


def push(source: Source, file: Path, secret: str, *, replace: bool) -> bool:
    """Put a file at its object; False when the bucket has it already, by size and crc32c. OSError
    when it has another one and `replace` is not set."""
    with _explained(source, "User"):
        bucket = _client(secret).bucket(source.place)
        there = bucket.get_blob(source.path, timeout=60)
        same = there is not None and there.size == file.stat().st_size
        if same and there.crc32c == _crc32c(file):
            return False
        if there is not None and not replace:
            raise OSError(
                f"gs://{source.place} has another {source.path}: --replace puts this there"
            )
        # Only over what was seen: nobody else's object is lost.
        seen = there.generation if there is not None else 0
        bucket.blob(source.path, chunk_size=_PIECE).upload_from_filename(
            str(file), checksum="crc32c", if_generation_match=seen, timeout=300
        )
        return True


def _crc32c(file: Path) -> str:
    """As the bucket tells it: base64 of the big-endian sum."""
    checksum = importlib.import_module("google_crc32c").Checksum()
    with file.open("rb") as stream:
        while data := stream.read(1 << 20):
            checksum.update(data)
    return base64.b64encode(checksum.digest()).decode()


@contextmanager
def _explained(source: Source, role: str) -> Iterator[None]:
    """What the bucket refuses as an OSError. role: what the account needs there."""
    extra = packages.provide([PACKAGE], lambda text: print(text, flush=True))
    sys.path += [str(extra)] if extra else []
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.NotFound:
        raise OSError(f"there is no gs://{source.place}/{source.path}") from None
    except (exceptions.Unauthorized, exceptions.Forbidden):
        raise OSError(
            f"gs://{source.place} does not let this account in: give this checkpoint a secret, "
            f"file:PATH of a service account's key that has Storage Object {role} there"
        ) from None
    except (exceptions.GoogleAPIError, GoogleAuthError) as error:
        raise OSError(f"reaching gs://{source.place}/{source.path} failed: {error}") from None


def _below(client: Client, source: Source, folder: Path, room: Room) -> Path:
    blobs = list(client.list_blobs(source.place, prefix=source.path))
    files = [blob for blob in blobs if not blob.name.endswith("/")]
    if not files:
        raise OSError(f"there is nothing below gs://{source.place}/{source.path}")
    room(sum(int(blob.size or 0) for blob in files))
    for blob in files:
        inner = blob.name[len(source.path) :]
        if any(piece in ("", ".", "..") for piece in inner.split("/")):
            raise OSError(f"an object of gs://{source.place} has a name no file can have: {inner}")
        target = folder / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.replace(_object(blob, target.with_name(f".{target.name}.part")), target)
    return folder


def _object(blob: Blob, target: Path) -> Path:
    from google.cloud.storage import transfer_manager

    if not blob.size:
        target.write_bytes(b"")
        return target
    transfer_manager.download_chunks_concurrently(
        blob,
        str(target),
        chunk_size=_PIECE,
        worker_type=transfer_manager.THREAD,
        max_workers=_WORKERS,
    )
    return target


def _client(secret: str) -> Client:
    """As the secret's service account; else as this machine is known to Google; else as nobody,
    which is enough for what is public."""
    from google.auth import default
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    server = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if secret:
        if server and not is_loopback(server if "://" in server else f"http://{server}"):
            raise OSError(f"the secret of a gs:// checkpoint is not sent to {server}")
        try:
            fields = json.loads(secret)
        except ValueError:
            raise OSError("the secret of a gs:// checkpoint is a service account's JSON") from None
        return storage.Client.from_service_account_info(fields)
    if server:
        return storage.Client.create_anonymous_client()
    try:
        credentials, project = default()
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()
    return storage.Client(project=project or "devbox", credentials=credentials)

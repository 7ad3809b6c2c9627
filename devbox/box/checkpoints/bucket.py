"""Objects of a Google Cloud Storage bucket, in parallel pieces, each verified by its crc32c."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, List

from devbox.box import packages
from devbox.box.address import is_loopback
from devbox.box.checkpoints.source import Source

_PACKAGE = "google-cloud-storage>=2.14"
_PIECE = 32 << 20
_WORKERS = 8


def fetch(source: Source, part: Path, secret: str) -> Path:
    """The object, or the folder of all below a prefix, in `part`. OSError says what was refused
    and the fix. An object that is whole is not fetched again."""
    extra = packages.provide([_PACKAGE], lambda text: print(text, flush=True))
    sys.path += [str(extra)] if extra else []
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        client = _client(secret)
        if not source.is_folder:
            return _object(client.bucket(source.place).blob(source.path), part / "file")
        return _below(client, source, part / "folder")
    except exceptions.NotFound:
        raise OSError(f"there is no gs://{source.place}/{source.path}") from None
    except (exceptions.Unauthorized, exceptions.Forbidden):
        raise OSError(
            f"gs://{source.place} may not be read: give this checkpoint a secret, "
            "file:PATH of a service account's key that has Storage Object Viewer there"
        ) from None
    except (exceptions.GoogleAPIError, GoogleAuthError) as error:
        raise OSError(f"fetching gs://{source.place}/{source.path} failed: {error}") from None


def _below(client: Any, source: Source, folder: Path) -> Path:
    blobs: List[Any] = list(client.list_blobs(source.place, prefix=source.path))
    files = [blob for blob in blobs if not blob.name.endswith("/")]
    if not files:
        raise OSError(f"there is nothing below gs://{source.place}/{source.path}")
    for blob in files:
        inner = blob.name[len(source.path) :]
        if any(piece in ("", ".", "..") for piece in inner.split("/")):
            raise OSError(f"an object of gs://{source.place} has a name no file can have: {inner}")
        target = folder / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.replace(_object(blob, target.with_name(f".{target.name}.part")), target)
    return folder


def _object(blob: Any, target: Path) -> Path:
    from google.cloud.storage import transfer_manager

    blob.reload(timeout=60)
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


def _client(secret: str) -> Any:
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

"""Files of a Hugging Face model repository, through huggingface_hub, which resumes after a cut."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from devbox.box import packages
from devbox.box.address import is_readable
from devbox.box.checkpoints.source import Source

_PACKAGE = "huggingface_hub>=0.30"


def fetch(source: Source, part: Path, secret: str) -> Path:
    """The file or folder in `part`. OSError says what the Hub refused and the fix."""
    extra = packages.provide([_PACKAGE], lambda text: print(text, flush=True))
    sys.path += [str(extra)] if extra else []
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub import constants, errors

    if secret and is_readable(constants.ENDPOINT):
        raise OSError(f"{constants.ENDPOINT} is plain http: the secret could be read on the way")

    folder, inside = part / "repository", source.path.rstrip("/")
    options: Any = {
        "revision": source.revision or None,
        "token": secret or None,
        "local_dir": folder,
    }
    try:
        if not source.is_folder:
            return Path(huggingface_hub.hf_hub_download(source.place, source.path, **options))
        patterns = [f"{inside}/*"] if inside else None
        huggingface_hub.snapshot_download(source.place, allow_patterns=patterns, **options)
    except errors.GatedRepoError:
        raise OSError(
            f"{source.place} is gated: accept its terms at its page on the Hub, "
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
    if not (folder / inside).is_dir():
        raise OSError(f"{source.place} has no folder {source.path}")
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own notes
    return folder / inside

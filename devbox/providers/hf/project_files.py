"""Which files of a project go into its Space: ignore files are kept to, secrets are refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from devbox.errors import UsageError
from devbox.ignore import rules, tree
from devbox.images import secret_scan
from devbox.providers.hf import image
from devbox.spec import FILE_NAME, Sync
from devbox.text import clean, size

_MOST_FILES = 5000
_MOST_BYTES = 1024**3


def collect(root: str, sync: Sync) -> dict[str, Path]:
    """Path in the repository → file, for the project at `root`; none for a folder that is no
    devbox project, such as a home folder. Symlinks are left out.

    UsageError, before anything is sent, for likely secrets and for more than a Space should hold.
    """
    top = Path(root, sync.path) if root else None
    if top is None or not (Path(root) / FILE_NAME).is_file() or not top.is_dir():
        return {}
    found: dict[str, Path] = {}
    total = 0
    for path in _kept(top, sync):
        file = top / path
        found[path] = file
        total += file.stat().st_size
        if len(found) > _MOST_FILES or total > _MOST_BYTES:
            raise UsageError(
                f"{clean(str(top), 200)} is too much for a Space "
                f"(over {_MOST_FILES} files or {size(_MOST_BYTES)})",
                means="nothing was uploaded or started",
                fix="name large files in .gitignore or .dockerignore; data belongs in a volume",
            )
    _refuse_secrets(found)
    return found


def _kept(top: Path, sync: Sync) -> Iterator[str]:
    # Secrets are refused below, where a sync leaves them out.
    base = rules.base(sync, fetched=(), secrets=())
    found = tree.read(top, sync, files=True, base=base)
    kept = {path for path, entry in found.files.items() if entry.kind == "f"}
    for name in (image.DOCKERFILE.encode(), image.README.encode()):
        rule = found.rules.decide(name, folder=False)
        # The files that make the image must be sent for it to be made.
        if rule and rule.source == rules.DOCKERIGNORE and (top / os.fsdecode(name)).is_file():
            kept.add(name)
    return map(os.fsdecode, sorted(kept))


def _refuse_secrets(found: dict[str, Path]) -> None:
    likely = [
        path
        for path, file in found.items()
        if secret_scan.named_like(path) or secret_scan.in_file(file)
    ]
    if likely:
        shown = ", ".join(clean(path, 80) for path in likely[:5])
        more = f" and {len(likely) - 5} more" if len(likely) > 5 else ""
        raise UsageError(
            f"these files look like secrets and would be uploaded: {shown}{more}",
            means="nothing was uploaded or started",
            fix="name them in .gitignore or .dockerignore; "
            "give secrets in the secrets table of the box",
        )

"""Files that look like secrets: by name, and by what their first megabyte holds."""

from __future__ import annotations

import re
from pathlib import Path

_SCANNED = 1024**2  # bytes of a file that are searched
_NAMES = re.compile(
    r"(?:.*/)?(?:"
    r"\.env(?:\.(?!(?:example|sample|template)$)[^/]*)?|\.envrc|\.netrc|\.pypirc|\.git-credentials"
    r"|[^/]*\.(?:pem|p12|pfx|keystore)|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|service-account[^/]*\.json|credentials\.json|\.(?:ssh|aws)/.*"
    r")",
    re.DOTALL,
).fullmatch
_TEXT = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"
    rb"|\bhf_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}"
    rb"|\bgithub_pat_\w{30,}|\bsk-[A-Za-z0-9_-]{32,}|\bxox[abp]-[A-Za-z0-9-]{20,}"
)
# The same without its \\b: several times as fast, and hardly ever true.
_PERHAPS = re.compile(_TEXT.pattern.replace(rb"\b", b""))


def named_like(path: str) -> bool:
    """Whether a relative path has the name of a file that holds secrets."""
    return bool(_NAMES(path))


def holds(content: bytes) -> bool:
    """Whether text holds a private key or a token of a known form; False for binary data."""
    if not _PERHAPS.search(content) or b"\0" in content[:8192]:
        return False
    return bool(_TEXT.search(content))


def in_file(file: Path) -> bool:
    """`holds` of a file's first megabyte."""
    with file.open("rb") as stream:
        return holds(stream.read(_SCANNED))

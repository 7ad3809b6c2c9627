"""Which addresses a credential may be sent to. Pure; both halves use it."""

from __future__ import annotations

import re

# Nothing before the host and no backslash: programs disagree about which host those mean.
_LOOPBACK = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?(?:[/?#][^\\]*)?",
    re.IGNORECASE | re.ASCII,
)


def is_readable(url: str) -> bool:
    """Whether others can read on the way what is sent there: plain http to another machine."""
    return url.strip().lower().startswith("http:") and not is_loopback(url)


def is_loopback(url: str) -> bool:
    """Whether it stays on this machine, where plain http is fine and no proxy belongs."""
    return _LOOPBACK.fullmatch(url) is not None

"""Why OpenSSH did not get to a box, as our errors, and how long to wait before the next try.

ssh ends with code 255 and says why on stderr; rsync repeats its words.
"""

from __future__ import annotations

from enum import Enum, auto

from devbox import paths
from devbox.errors import HostKeyRefused, KeyRefused, NameUnknown, NoAnswer, SshError
from devbox.model import Box
from devbox.text import clean

FAILED = 255  # ssh's own exit code: no connection, or one that was cut
#: seconds before each further try; the last one repeats
WAITS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


class Refusal(Enum):
    """What stood in the way. UNREACHED: nobody was there, so nothing was sent. CUT: all else."""

    KEY = auto()
    HOST_KEY_CHANGED = auto()
    HOST_KEY_UNKNOWN = auto()
    NAME = auto()
    UNREACHED = auto()
    CUT = auto()


_SIGNS = (
    # first, because ssh prints "Host key verification failed" below it
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Refusal.HOST_KEY_CHANGED),
    ("Host key verification failed", Refusal.HOST_KEY_UNKNOWN),
    ("host key is known for", Refusal.HOST_KEY_UNKNOWN),
    ("Permission denied", Refusal.KEY),
    ("Too many authentication failures", Refusal.KEY),
    ("no matching host key type", Refusal.KEY),
    ("Could not resolve hostname", Refusal.NAME),
    ("Name or service not known", Refusal.NAME),
    ("Connection refused", Refusal.UNREACHED),
    ("Connection timed out", Refusal.UNREACHED),
    ("Operation timed out", Refusal.UNREACHED),
    ("No route to host", Refusal.UNREACHED),
    ("Host is down", Refusal.UNREACHED),
    ("Network is unreachable", Refusal.UNREACHED),
)


def of(err: str) -> Refusal:
    """The refusal that stderr of ssh tells of."""
    return next((found for words, found in _SIGNS if words in err), Refusal.CUT)


def error(box: Box, err: str, *, means: str = "", fix: str = "") -> SshError:
    """The error for a box that ssh did not get to: KeyRefused, HostKeyRefused, NameUnknown, or
    NoAnswer. means, fix: in place of the usual ones."""
    said, name = clean(err.strip()[-400:], 400), box.name
    tail = f": {said}" if said else ""
    kind: type[SshError] = NoAnswer
    what, usual = f"box {name} cannot be reached{tail}", f"devbox status {name}"
    match of(err):
        case Refusal.KEY:
            kind, what = KeyRefused, f"box {name} does not accept the key {paths.identity()}{tail}"
            usual = f"devbox doctor {name}"
        case Refusal.HOST_KEY_CHANGED | Refusal.HOST_KEY_UNKNOWN:
            kind, what = HostKeyRefused, f"box {name} does not show the pinned host key{tail}"
            means = means or (
                "someone may be in between, or the box was rebuilt; nothing was sent to it"
            )
            usual = f"devbox reconcile, which asks the provider; then: devbox up {name}"
        case Refusal.NAME:
            kind, what = NameUnknown, f"the address of box {name} is not known{tail}"
    return kind(what, means=means, fix=fix or usual, box=box.id)


def is_final(error: Exception) -> bool:
    """Whether trying again cannot help. A name without an address may only want a network."""
    return isinstance(error, KeyRefused | HostKeyRefused)


def wait(failures: int) -> float:
    """Seconds to wait before the next try, after so many failures in a row."""
    return WAITS[min(max(failures, 1), len(WAITS)) - 1]

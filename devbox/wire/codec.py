"""What the two halves say to each other: versioned JSON lines, and the one text cleaner.

A *sample* (one JSON object per line, schema version 1; every leaf may be null = not measurable):

    {"v": 1, "boot": str, "seq": int, "t": unix seconds,
     "cpu":  {"util": 0-100 over all cores, "count": int, "load1": float},
     "mem":  {"used": bytes, "total": bytes},
     "disk": {"path": str, "used": bytes, "total": bytes, "read_bps": B/s, "write_bps": B/s},
     "net":  {"rx_bps": B/s, "tx_bps": B/s},
     "ssh":  {"sessions": int, "rx_bytes": cumulative, "tx_bytes": cumulative},
     "tty":  {"count": int, "input_at": unix seconds of the latest keystroke at a terminal},
     "requests": cumulative count of served requests,
     "jobs": [run id, ...],
     "gpus": [{"index": int, "uuid": str, "name": str, "util": 0-100, "mem_util": 0-100,
               "mem_used": bytes, "mem_total": bytes, "power_w": W, "power_limit_w": W,
               "temp_c": C, "sm_mhz": int, "mem_mhz": int, "throttle": [reason, ...],
               "ecc_errors": uncorrected since boot, "mig": bool,
               "lost": bool, "xid": int (a critical error since the last sample),
               "processes": [{"pid": int, "name": str, "mem_used": bytes}]}]}

`boot` names one run of the sampler and `seq` counts up within it, so (boot, seq) names a sample
and a reader resumes with "everything after (boot, seq)". ssh bytes leave out devbox's own streams.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Optional

VERSION = 1
LATEST = 4_102_444_800.0  # 2100-01-01: no clock that can be believed says more
MAX_LINE = 1 << 20  # bytes; a longer line from a box is dropped, not buffered

# Whole escape sequences first (CSI, OSC and friends, two-byte), then any control left over,
# then the invisible direction changers that can make text read as something else.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: str, limit: int = 2000) -> str:
    """Untrusted text made harmless for a terminal: escape sequences, control characters (but
    tab and newline) and direction overrides removed, cut to `limit` characters with an ellipsis."""
    if len(text) <= limit and text.isprintable():
        return text  # nothing that is removed below is printable
    cut = text[: limit * 4 + 64]
    out = _CONTROLS.sub("", _ESCAPES.sub("", cut.replace("\r\n", "\n")))
    return out if len(out) <= limit else out[: max(0, limit - 1)] + "…"


def encode(message: Dict[str, Any]) -> bytes:
    """One message as one line."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Optional[Dict[str, Any]]:
    """One line as a message, or None when it is not ours: too long, not JSON, not an object."""
    if len(line) > MAX_LINE:
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None

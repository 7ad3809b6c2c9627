"""`files VERB`: a message on stdin, the answer on stdout. Only what the verb needs is imported."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Dict, List, NamedTuple, Tuple, Type

from devbox.wire import files
from devbox.wire.codec import Unreadable, decode

VERBS: Dict[str, Tuple[str, Type[NamedTuple]]] = {
    "list": ("listing.list_files", files.ListFiles),
    "look": ("listing.look", files.LookAt),
    "digest": ("named.digest", files.DigestFiles),
    "delete": ("named.delete", files.DeleteFiles),
    "stamp": ("baseline.stamp", files.SetBaseline),
}


def main(argv: List[str]) -> int:
    """The verb."""
    if len(argv) != 1 or argv[0] not in VERBS:
        print("usage: files " + "|".join(VERBS), file=sys.stderr)
        return 2
    place, kind = VERBS[argv[0]]
    module, _, name = place.partition(".")
    handler = getattr(import_module(f"devbox.box.files.{module}"), name)
    try:
        request = decode(sys.stdin.buffer.read(), kind, limit=files.MOST_BYTES)
    except Unreadable as error:
        print(f"the request {error}", file=sys.stderr)
        return 2
    sys.stdout.buffer.writelines(handler(request))
    sys.stdout.buffer.flush()
    return 0

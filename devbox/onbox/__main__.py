"""`python3 onbox.pyz VERB …`: the box half's door. Each verb's module is imported when called."""

from __future__ import annotations

import sys
from importlib import import_module

VERBS = {
    "app": "devbox.onbox.app",  # app restart: the program of a Space, in its container
    "arm": "devbox.onbox.arm",  # config JSON on stdin → written, agent (re)started
    "guard": "devbox.onbox.guard",  # the orders a box was made with, before anybody logs in
    "agent": "devbox.onbox.agent",  # the sampler and watchdog loop
    "keep": "devbox.onbox.keep",
    "verdict": "devbox.onbox.verdict",  # the watchdog's present verdict as JSON
    "stream": "devbox.onbox.stream",  # samples and events as JSON lines
    "job": "devbox.onbox.runner",  # job start|follow|cancel|list …
    "doctor": "devbox.onbox.doctor",
    "unsynced": "devbox.onbox.unsynced",
    "end": "devbox.onbox.ending",  # what was started with a mark, on a machine that goes on
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in VERBS:
        print("usage: onbox VERB …; verbs: " + " ".join(VERBS), file=sys.stderr)
        return 2
    return int(import_module(VERBS[sys.argv[1]]).main(sys.argv[2:]) or 0)


if __name__ == "__main__":
    sys.exit(main())

"""`python3 devbox-box.pyz VERB …`: the box half. A verb's module is imported when called, for its
`main` or the function that is named."""

from __future__ import annotations

import sys
from importlib import import_module

VERBS = {
    "app": "devbox.box.app",  # app restart: the program of a Space, in its container
    "arm": "devbox.box.watchdog.arm",  # config JSON on stdin → written, agent (re)started
    "guard": "devbox.box.watchdog.arm:guard",  # the orders a box was made with
    "agent": "devbox.box.watchdog.daemon",  # the sampler and watchdog loop
    "keep": "devbox.box.watchdog.commands:keep",
    "verdict": "devbox.box.watchdog.commands:verdict",  # the watchdog's present verdict as JSON
    "stream": "devbox.box.stream",  # samples and events as JSON lines
    "job": "devbox.box.runs.commands",  # job start|follow|cancel|list …
    "setup": "devbox.box.setup.commands",  # setup look: what a box has of its setup
    "checkpoints": "devbox.box.checkpoints.commands",  # checkpoints list|verify|pull|push
    "notices": "devbox.box.notices.post",  # notices wait|test
    "doctor": "devbox.box.doctor",
    "files": "devbox.box.files.requests",  # files list|look|digest|delete|stamp, for a sync
    "end": "devbox.box.kill_marked",  # what was started with a mark, on a machine that continues
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in VERBS:
        print("usage: devbox-box VERB …; verbs: " + " ".join(VERBS), file=sys.stderr)
        return 2
    module, _, function = VERBS[sys.argv[1]].partition(":")
    return int(getattr(import_module(module), function or "main")(sys.argv[2:]) or 0)


if __name__ == "__main__":
    sys.exit(main())

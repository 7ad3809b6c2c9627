"""Run one emulator by hand: ``python -m tests.emulators hf|modal``.

Prints the environment to export in another terminal (standard output, ready
for ``eval``) and what else to know (standard error), and runs until Ctrl-C.
Each emulator brings a module ``byhand`` with ``add_arguments(parser)`` and
``start(arguments)``, a context manager over a :class:`Running`.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import signal
import sys
from collections.abc import Sequence

from tests.emulators.common.running import Running

EMULATORS = {"hf": "tests.emulators.hf.byhand", "modal": "tests.emulators.modal.byhand"}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, start, print, wait for SIGINT or SIGTERM, stop."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="python -m tests.emulators", description=__doc__)
    parser.add_argument("emulator", choices=EMULATORS)
    name = parser.parse_args(words[:1]).emulator
    module = importlib.import_module(EMULATORS[name])
    chosen = argparse.ArgumentParser(prog=f"python -m tests.emulators {name}")
    module.add_arguments(chosen)
    arguments = chosen.parse_args(words[1:])
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with module.start(arguments) as running:
        announce(running)
        signal.sigwait(signals)
    return 0


def announce(running: Running) -> None:
    """The environment as shell code, the notes as comments for the user."""
    for key, value in running.env.items():
        print(f"export {key}={shlex.quote(value)}", flush=True)
    for note in running.notes:
        print(f"# {note}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

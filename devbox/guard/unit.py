"""The guard as a service of the user's: the texts, made by pure functions.

No secret is in them: a service sees DEVBOX_HOME and PATH of the time it was installed, and no other
variable of the shell.
"""

from __future__ import annotations

import hashlib
import plistlib
from collections.abc import Mapping

from devbox.errors import UsageError

#: what tells a file that we wrote from one of the user's
MARK = "Written by devbox guard, which takes it out again too"
_NAME = "devbox-guard"


def name(home: str, usual: str) -> str:
    """Of the service of one DEVBOX_HOME: the usual one's has no suffix."""
    suffix = "" if home == usual else f"-{hashlib.sha256(home.encode()).hexdigest()[:8]}"
    return f"{_NAME}{suffix}"


def argv(python: str) -> list[str]:
    """The same interpreter, that reads no module of the folder it starts in."""
    return [python, "-P", "-m", "devbox.guard"]


def systemd(python: str, environment: Mapping[str, str]) -> str:
    """A user unit. KillMode=process: verbs that a schedule began continue to their end.
    UsageError for a value that no unit can hold."""
    words = " ".join(_quoted(word).replace("$", "$$") for word in argv(python))
    lines = [f"Environment={_quoted(f'{key}={value}')}" for key, value in environment.items()]
    return "\n".join(
        [
            f"# {MARK}",
            "[Unit]",
            "Description=devbox guard: schedules, budgets and boxes that nothing else watches",
            "",
            "[Service]",
            f"ExecStart={words}",
            *lines,
            "Restart=on-failure",
            "RestartSec=30",
            "KillMode=process",
            "Nice=10",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def launchd(label: str, python: str, environment: Mapping[str, str], log: str) -> bytes:
    """A property list of a launch agent."""
    made = plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": argv(python),
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 30,
            "AbandonProcessGroup": True,
            "ProcessType": "Background",
            "StandardErrorPath": log,
        }
    )
    head, _, rest = made.partition(b"<plist")
    return head + f"<!-- {MARK} -->\n".encode() + b"<plist" + rest


def _quoted(text: str) -> str:
    """One word of a unit's line: quoted, with `%` and backslashes for themselves."""
    if not text.isprintable():
        raise UsageError(
            f"a service cannot be given {text!r}",
            means="nothing was installed",
            fix="devbox guard",
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'

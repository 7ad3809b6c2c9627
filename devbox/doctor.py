"""Checks of this computer and of a box. Each is a level, what was found and the fix."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from devbox import paths, spec
from devbox.errors import DevboxError, ToolMissing
from devbox.model import Box, BoxState
from devbox.process import require, run
from devbox.providers import registry
from devbox.remote import agent
from devbox.remote.agent_bootstrap import Runs
from devbox.remote.config import include
from devbox.remote.exec import Exec
from devbox.state import salvage
from devbox.telemetry.rearm import ensure_watchdog
from devbox.text import clean, duration
from devbox.wire.messages import Check, Level
from devbox.workspace import Workspace

# Tokens of most clouds are refused when clocks differ by five minutes; ssh itself does not care.
_CLOCK_SLACK = 60.0


def laptop(ws: Workspace) -> list[Check]:
    """This computer: programs, key, config permissions, state file, each provider's credentials."""
    used = {each for wanted in ws.spec.boxes.values() for each in _providers(wanted)}
    with suppress(DevboxError):  # `_state` tells
        used |= {box.provider for box in ws.store.boxes.all()}
    asked: list[Callable[[], list[Check]]] = [
        lambda: [_program("ssh", "-V"), _program("rsync", "--version")],
        lambda: [_key()],
        _config_modes,
        lambda: [_include()],
        lambda: _state(ws),
        *(partial(provider, ws, name, is_used=name in used) for name in registry.NAMES),
    ]
    return [check for each in asked for check in guarded(each)]


def _providers(wanted: spec.BoxSpec) -> tuple[str, ...]:
    return wanted.providers or (wanted.provider,)


def provider(ws: Workspace, name: str, *, is_used: bool, host: str = "") -> list[Check]:
    """A provider's own checks of its account or machine. What is wrong with one that nothing uses
    is no failure yet. host: a machine of the user's that is asked for, besides devbox.toml's."""
    wanted = [each for each in ws.spec.boxes.values() if name in _providers(each)]
    if host:
        wanted = [spec.BoxSpec(provider=name, host=host)]
    try:
        found = ws.provider(name).checks(wanted)
    except DevboxError as error:
        found = [("warn", error.what, error.fix)]
    checks = []
    for level, what, fix in found:
        title = what if what.lower().startswith(f"{name}:") else f"{name}: {what}"
        real: Level = "warn" if level == "fail" and not is_used else level  # type: ignore[assignment]
        checks.append(Check(real, title, fix))
    return checks


def guarded(checks: Callable[[], list[Check]]) -> list[Check]:
    """What they found; one that fails is itself a finding, and ends none of the others."""
    try:
        return checks()
    except DevboxError as error:
        return [Check("fail", error.what, error.fix)]
    except Exception as error:  # a check that breaks says so, and the report continues
        kind = type(error).__name__
        return [Check("fail", f"a check of devbox's own failed: {kind}: {clean(str(error), 200)}")]


def box(ws: Workspace, target: Box) -> list[Check]:
    """The box's side, as its own doctor reports it, and the clocks compared."""
    if target.state is not BoxState.RUNNING:
        verb = "resume" if target.state is BoxState.PAUSED else "up"
        return [Check("fail", f"{target.name} is {target.state}", f"devbox {verb} {target.name}")]
    return guarded(lambda: _logged_in(ws, target))


def _logged_in(ws: Workspace, target: Box) -> list[Check]:
    line = Exec(target)
    answers = [_watchdog(ws, target, line), *_ask(ws, line)]
    return [Check("ok", f"devbox logs in on {target.name}"), _alias(target), *answers]


def _watchdog(ws: Workspace, target: Box, line: Runs) -> Check:
    try:
        if ensure_watchdog(ws, target, line):
            return Check("warn", "its watchdog did not run; it was armed again")
    except DevboxError as error:
        return Check("fail", error.what, f"devbox down {target.name}, before it costs unguarded")
    return Check("ok", "its watchdog runs")


def _alias(target: Box) -> Check:
    """What editors and scp use: the alias, through the user's own file."""
    file = include.user_config()
    if not include.installed():
        return Check(
            "warn",
            f"`ssh {target.alias}` needs devbox's Include in {file}",
            "devbox ssh-config --install",
        )
    try:
        include.check(target)
        line = ["ssh", "-F", str(file), "-o", "ControlPath=none", "-T", "--", target.alias, "true"]
        done = run(line, check=False, timeout=30)
    except DevboxError as error:
        return Check("warn", error.what, error.fix)
    if done.code:
        why = clean(done.err.strip()[-200:], 200)
        return Check("warn", f"`ssh {target.alias}` fails: {why}", f"look at {file}")
    return Check("ok", f"ssh {target.alias} logs in")


def _ask(ws: Workspace, line: Runs) -> list[Check]:
    before = ws.clock()
    answer = agent.report(line)
    after = ws.clock()
    away = max(before - answer.time, answer.time - after, 0.0)
    if away > _CLOCK_SLACK:
        fix = "set the clock that is wrong (timedatectl); tokens and idle times depend on it"
        return [
            *answer.checks,
            Check("warn", f"the box's clock is {duration(away)} away from this one", fix),
        ]
    return [*answer.checks, Check("ok", "the box's clock agrees with this one")]


def _program(name: str, flag: str) -> Check:
    try:
        require(name)
    except ToolMissing as error:
        return Check("fail", error.what, error.fix)
    done = run([name, flag], check=False, timeout=10)
    first = (done.out or done.err).strip().splitlines()[:1]
    return Check("ok", clean(f"{name}: {first[0] if first else 'present'}", 120))


def _key() -> Check:
    file = paths.identity()
    if not file.exists():
        return Check("ok", "no ssh key yet; the first `devbox up` makes one")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return Check("fail", f"{file} can be read by others", f"chmod 600 {file}")
    return Check("ok", f"ssh key {file}")


def _config_modes() -> list[Check]:
    checks = []
    for path in (Path.home() / ".ssh", Path.home() / ".ssh" / "config", paths.home()):
        if path.exists() and path.stat().st_uid not in (os.getuid(), 0):
            checks.append(Check("fail", f"{path} belongs to another user", f"chown it: {path}"))
        elif path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o022:
            checks.append(Check("fail", f"{path} can be written by others", f"chmod go-w {path}"))
    return checks or [Check("ok", "permissions of ~/.ssh and devbox's folder")]


def _include() -> Check:
    if include.installed():
        return Check("ok", "~/.ssh/config includes devbox's hosts")
    return Check(
        "warn", "~/.ssh/config does not include devbox's hosts", "devbox ssh-config --install"
    )


def _state(ws: Workspace) -> list[Check]:
    salvage.check(ws.store.database)
    fix = "devbox doctor --fix"
    checks = [
        Check("fail", f"the record of box {clean(row.name, 60)} cannot be read: {row.why}", fix)
        for row in ws.store.boxes.unreadable()
    ]
    for box in ws.store.boxes.all():
        try:
            spec.require_whole(box)
        except DevboxError as error:
            checks.append(Check("fail", f"{box.name}: {error.what}", error.fix))
    return checks or [Check("ok", f"state file {paths.state_db()}")]

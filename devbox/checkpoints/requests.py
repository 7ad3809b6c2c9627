"""`devbox checkpoints`: what the box half is asked, on a box or as a program of this computer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from devbox import paths
from devbox.errors import DevboxError, NotFound
from devbox.files import private_dir
from devbox.model import Box
from devbox.remote import agent
from devbox.remote.exec import Exec
from devbox.secrets import resolve
from devbox.spec import Checkpoint, Spec
from devbox.text import clean
from devbox.wire.checkpoints import (
    CheckpointAsked,
    CheckpointProgress,
    CheckpointsAnswer,
    CheckpointsRequest,
    CheckpointState,
)
from devbox.wire.codec import Unreadable, decode, encode
from devbox.wire.jobs import CheckpointFetch

Tell = Callable[[CheckpointProgress], None]
_LONGEST = 12 * 3600.0  # seconds; what reads or sends many gigabytes
_MANY = 4 << 20


def chosen(project: Spec, names: Iterable[str] = ()) -> dict[str, Checkpoint]:
    """Those of the project that are named, or all. NotFound lists what there is; NotTrusted."""
    wanted = tuple(dict.fromkeys(names)) or tuple(project.checkpoints)
    if not wanted:
        project.require_trust("checkpoints")
        raise NotFound(
            "this project has no checkpoints",
            fix="add a table such as [checkpoints.weights] with source and path to devbox.toml",
        )
    found = {}
    for name in wanted:
        checkpoint = project.checkpoint(name)
        if checkpoint is None:
            known = ", ".join(project.checkpoints) or "none"
            raise NotFound(f"there is no checkpoint {clean(name, 40)!r} (checkpoints: {known})")
        found[name] = checkpoint
    return found


def on_box(
    box: Box, action: str, wanted: dict[str, Checkpoint], *, replace: bool = False
) -> tuple[CheckpointState, ...]:
    """list, verify or push on a box, where `path` says. SshError when it cannot be reached."""
    asked = {name: CheckpointAsked(each.path, _fetch(each)) for name, each in wanted.items()}
    request = CheckpointsRequest(asked, _secrets(wanted) if action == "push" else {}, replace)
    return agent.ask(
        Exec(box),
        CheckpointsAnswer,
        "checkpoints",
        action,
        request=request,
        timeout=60.0 if action == "list" else _LONGEST,
        limit=_MANY,
        present=True,
    ).states


def folder_here() -> Path:
    """Where checkpoints lie on this computer unless another folder is named."""
    return private_dir(paths.home() / "checkpoints")


def here(
    root: Path,
    action: str,
    wanted: dict[str, Checkpoint],
    folder: Path,
    *,
    replace: bool = False,
    tell: Tell | None = None,
) -> tuple[CheckpointState, ...]:
    """list, verify, pull or push on this computer, each checkpoint at `folder`/NAME/its file name.
    root: the project's, which local sources are relative to. An interrupt ends it; what arrived is
    kept. DevboxError when it fails as a whole."""
    asked = {}
    for name, each in wanted.items():
        place = folder.absolute() / name / Path(each.path).name
        fetch = _fetch(each)
        if local := each.local(root):
            slash = "/" * each.source.endswith("/")
            fetch = fetch._replace(source=f"{local.absolute()}{slash}")
        asked[name] = CheckpointAsked(str(place), fetch)
    needs = _secrets(wanted) if action in ("pull", "push") else {}
    return _run(action, CheckpointsRequest(asked, needs, replace), tell)


def _run(
    action: str, request: CheckpointsRequest, tell: Tell | None
) -> tuple[CheckpointState, ...]:
    """The box half as a program of its own: the libraries it installs stay out of ours."""
    env = {**os.environ, "DEVBOX_BOX_ROOT": str(private_dir(paths.home() / "box"))}
    # -P: the folder it is typed in may hold a package of our name.
    argv = [sys.executable, "-P", "-m", "devbox.box", "checkpoints", action]
    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env
        )
        stack.enter_context(process)
        stack.callback(process.terminate)
        assert process.stdin and process.stdout  # noqa: PT018  why: both are pipes
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(encode(request))
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        for line in process.stdout:
            try:
                found = decode(line, CheckpointsAnswer, CheckpointProgress, limit=_MANY)
            except Unreadable:
                continue
            if isinstance(found, CheckpointsAnswer):
                return found.states
            if tell:
                tell(found)
        errors.seek(0)
        said = clean(errors.read()[-600:].decode(errors="replace").strip(), 600)
    raise DevboxError(
        f"checkpoints {action} failed: {said or 'it ended and said nothing'}",
        means="what has arrived is kept",
        fix="the same command again continues there",
    )


def _fetch(each: Checkpoint) -> CheckpointFetch:
    size = None if each.size is None else int(each.size)
    return CheckpointFetch(each.origin, each.sha256, each.bytes, size, each.page)


def _secrets(wanted: dict[str, Checkpoint]) -> dict[str, str]:
    """Read now, kept nowhere."""
    return {name: resolve(each.secret) for name, each in wanted.items() if each.secret}

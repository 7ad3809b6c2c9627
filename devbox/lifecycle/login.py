"""How this computer reaches a box: its keys, the login, and its entry in the user's ssh."""

from __future__ import annotations

from pathlib import Path

from devbox import paths, spec
from devbox.errors import DevboxError, KeyRefused, NoAnswer, SshError
from devbox.files import private_dir, write_atomic
from devbox.lifecycle.refusal import cost_line
from devbox.lifecycle.steps import with_retries
from devbox.lifecycle.waiting import waiting
from devbox.model import Box
from devbox.providers.base import CanAdmit
from devbox.remote import keys, wait
from devbox.remote.config import include, known_hosts, ssh_config
from devbox.remote.connection import Connection
from devbox.workspace import Workspace


def log_in(ws: Workspace, box: Box) -> Connection:
    """Wait for a login. A gateway that knows keys of its own says which one it lacks; a box that
    knows a key which this computer has lost takes the present one, where its provider can."""
    if not knows_our_key(box):
        ws.narrate(
            f"{box.name}: this computer's ssh key was lost or replaced, and is new to the box"
        )
        _admit(ws, box)
    limit = spec.decode_box(box.spec).login_timeout
    try:
        with waiting(ws, box, "waiting for ssh to answer", limit):
            connection = wait.for_login(
                box,
                timeout=limit,
                clock=ws.clock,
                sleep=ws.sleep,
                first_use=ws.narrate,
                refused=lambda: _refused(ws, box),
            )
    except NoAnswer as error:
        error.means = f"it runs as far as its provider says; {cost_line(ws, box)}"
        error.fix = (
            f"{error.fix}; wait longer with login_timeout in devbox.toml; "
            f"end it with: devbox down {box.name}"
        )
        raise
    except KeyRefused as error:
        help_ = ws.provider_of(box).login_help(box.handle)
        means = cost_line(ws, box)
        raise KeyRefused(error.what, means=means, fix=help_ or error.fix) from error
    write_atomic(login_file(box), keys.ensure_identity())
    return connection


def _refused(ws: Workspace, box: Box) -> None:
    ws.narrate(
        f"{box.name}: its ssh server does not take our key yet, which may be a matter of "
        f"seconds. {ws.provider_of(box).login_help(box.handle)}".strip()
    )
    _admit(ws, box)


def _admit(ws: Workspace, box: Box) -> None:
    """Have the provider let our key in, where it can. What fails is told: the login says more."""
    provider = ws.provider_of(box)
    if isinstance(provider, CanAdmit):
        try:
            with_retries(ws, lambda: provider.admit(box.handle, keys.ensure_identity()))
        except DevboxError as error:
            ws.narrate(f"{box.name}: {error.what}")


def knows_our_key(box: Box) -> bool:
    """Whether the key that last logged in on the box is still the one of this computer."""
    if not paths.identity().exists():
        return False
    known = login_file(box)
    return not known.exists() or known.read_text(encoding="utf-8") == keys.ensure_identity()


def login_file(box: Box) -> Path:
    """Holds the public key that last logged in."""
    return host_key_file(box).with_suffix(".login")


def host_key_file(box: Box) -> Path:
    return private_dir(paths.ssh_dir() / "hosts") / box.id


def host_key(box: Box) -> str:
    """The box's own sshd key: made once, so that creating twice gives one identity."""
    file = host_key_file(box)
    if not file.exists():
        write_atomic(file, keys.new_host_key()[0])
    return file.read_text()


def publish(ws: Workspace, box: Box) -> DevboxError | None:
    """Pin the host key and write devbox's own ssh config. Arming needs only the pin, so an error
    beyond that is returned, to be raised once the box is guarded."""
    ssh_config.check(box)
    try:
        ssh_config.publish(ws.store.boxes.all, narrate=ws.narrate)
    except (DevboxError, OSError) as error:
        told = box.endpoint is not None and box.endpoint.host_keys is not None
        if told and not known_hosts.pinned(known_hosts.alias(box)):
            raise
        return SshError(
            f"{box.name} runs, but devbox's ssh config could not be written: {error}",
            means=f"its watchdog is armed; {cost_line(ws, box)}",
            fix=f"devbox up {box.name} tries again",
        )
    return None


def extend_user_config(ws: Workspace, box: Box) -> None:
    """Make `ssh devbox-NAME` work in the user's own tools. A file that we may not write, or that
    ssh cannot read, is told and changes nothing else; so is what keeps the alias from working."""
    if not ws.integrate:
        return
    try:
        include.install()
        include.check(box)
    except DevboxError as error:
        ws.narrate("; ".join(filter(None, (f"{box.name}: {error.what}", error.means, error.fix))))


def forget(ws: Workspace, box: Box) -> None:
    """Take the box out of ssh. What fails here changes nothing about the box, and is told."""
    try:
        ssh_config.forget(box)
        ssh_config.publish(ws.store.boxes.all, narrate=ws.narrate)
    except (DevboxError, OSError) as error:
        ws.narrate(f"{box.name}: its ssh entry could not be removed: {error}")

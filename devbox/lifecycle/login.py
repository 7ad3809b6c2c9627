"""How this computer reaches a box: its keys, the login, and its entry in the user's ssh."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import paths
from devbox.errors import DevboxError, KeyRefused, NoAnswer, SshError
from devbox.files import private_dir, write_atomic
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box
from devbox.providers.abilities import CanAdmit
from devbox.remote import keys, wait
from devbox.remote.config import include, known_hosts, ssh_config
from devbox.remote.exec import Exec

if TYPE_CHECKING:
    from devbox.remote.connection import Connection


def log_in(op: BoxOperation, *, config: bool = True) -> Connection | nullcontext[Exec]:
    """Wait for a login, by the ssh client; config False: its config could not be written, so by a
    library that needs none. A gateway that knows keys of its own says which one it lacks; a box
    that knows a key which this computer has lost takes the present one, where its provider can."""
    box, ws = op.box, op.ws
    if not knows_our_key(box):
        op.narrate("this computer's ssh key was lost or replaced, and is new to the box")
        _admit(op)
    limit = op.spec.login_timeout
    way: _Way = _by_client if config else wait.by_library
    try:
        with op.waiting("waiting for ssh to answer", limit):
            connection = wait.for_login(
                box,
                log_in=way,
                timeout=limit,
                clock=ws.clock,
                sleep=ws.sleep,
                first_use=ws.narrate,
                refused=lambda: _refused(op),
            )
    except NoAnswer as error:
        error.means = f"it runs as far as its provider says; {op.cost_line()}"
        error.fix = (
            f"{error.fix}; wait longer with login_timeout in devbox.toml; "
            f"end it with: devbox down {box.name}"
        )
        raise
    except KeyRefused as error:
        help_ = op.provider.login_help(box.handle)
        raise KeyRefused(error.what, means=op.cost_line(), fix=help_ or error.fix) from error
    write_atomic(login_file(box), keys.ensure_identity())
    return connection


_Way = Callable[[Box, float], "Connection | nullcontext[Exec]"]


def _by_client(box: Box, timeout: float) -> nullcontext[Exec]:
    return nullcontext(wait.by_client(box, timeout))


def _refused(op: BoxOperation) -> None:
    op.narrate(
        "its ssh server does not take our key yet, which may be a matter of "
        f"seconds. {op.provider.login_help(op.box.handle)}".strip()
    )
    _admit(op)


def _admit(op: BoxOperation) -> None:
    """Have the provider let our key in, where it can. What fails is told: the login says more."""
    provider = op.provider
    if isinstance(provider, CanAdmit):
        try:
            op.retried(lambda: provider.admit(op.box.handle, keys.ensure_identity()))
        except DevboxError as error:
            op.narrate(error.what)


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


def publish(op: BoxOperation) -> DevboxError | None:
    """Pin the host key and write devbox's own ssh config. Arming needs only the pin, so an error
    beyond that is returned, to be raised once the box is guarded."""
    box = op.box
    ssh_config.check(box)
    try:
        ssh_config.publish(op.ws.store.boxes.all, narrate=op.ws.narrate)
    except (DevboxError, OSError) as error:
        told = box.endpoint is not None and box.endpoint.host_keys is not None
        if told and not known_hosts.pinned(known_hosts.alias(box)):
            raise
        return SshError(
            f"{box.name} runs, but devbox's ssh config could not be written: {error}",
            means=f"its watchdog is armed; {op.cost_line()}",
            fix=f"devbox up {box.name} tries again",
        )
    return None


def extend_user_config(op: BoxOperation) -> None:
    """Make `ssh devbox-NAME` work in the user's own tools. A file that we may not write, or that
    ssh cannot read, is told and changes nothing else; so is what keeps the alias from working."""
    if not op.ws.integrate:
        return
    try:
        include.install()
        include.check(op.box)
    except DevboxError as error:
        op.narrate("; ".join(filter(None, (error.what, error.means, error.fix))))


def forget(op: BoxOperation) -> None:
    """Take the box out of ssh. What fails here changes nothing about the box, and is told."""
    try:
        ssh_config.forget(op.box)
        ssh_config.publish(op.ws.store.boxes.all, narrate=op.ws.narrate)
    except (DevboxError, OSError) as error:
        op.narrate(f"its ssh entry could not be removed: {error}")

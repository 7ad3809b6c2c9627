"""The one line of ours in the user's ~/.ssh/config, for their own tools: editors, scp, git.

It comes first, so that no `Host` or `Match` of theirs encloses it; ssh restores its own state
after an included file, so theirs mean what they meant. Every other byte, the mode and a symlink
stay, and `remove` undoes all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devbox import files, paths
from devbox.errors import SshError
from devbox.model import Box
from devbox.remote import keys, offered
from devbox.remote.config import blocks, include_line, parsed, ssh_config, wsl
from devbox.text import clean


def install() -> bool:
    """Put the Include at the top; under WSL also on the Windows side. False when all was there.

    SshError, with the line to add by hand, when ssh could not read the file before (nothing is
    touched), when it does not find our config after (the previous bytes are back), or when the
    file cannot be written.
    """
    with _extending(user_config()), files.locked(paths.ssh_dir() / "include.lock"):
        if not paths.ssh_config().exists():
            ssh_config.publish([])
        changed = _install_here()
        if wsl.detected():
            changed = wsl.install() or changed
    return changed


def remove() -> bool:
    """Take the Include away; a file that `install` made and nobody wrote in since goes with it.
    False when there was none. SshError when the file cannot be written."""
    file = user_config()
    with _extending(file), files.locked(paths.ssh_dir() / "include.lock"):
        changed = include_line.take(file, paths.ssh_config(), _made_by_us())
        if wsl.detected():
            changed = wsl.remove() or changed
    return changed


def installed() -> bool:
    """Whether ssh finds our config through the user's file. Reads only the file's text."""
    try:
        before = user_config().read_bytes().splitlines()
    except OSError:
        return False  # missing, a folder, or not ours to read: ssh finds nothing there either
    return before[:1] == [include_line.text(paths.ssh_config()).encode()]


def check(box: Box) -> None:
    """SshError when `ssh devbox-NAME` through the user's file is not what devbox's own verbs use:
    it names what the file sets that no line of ours can take back."""
    file, name = user_config(), box.alias
    ours = parsed.settings(paths.ssh_config(), name)
    theirs = parsed.settings(file, name)
    if theirs.get("hostname") != ours.get("hostname"):
        raise SshError(
            f"ssh does not find {name} through {file}",
            means=f"devbox's own commands reach {box.name}; editors and scp do not",
            fix="devbox ssh-config --install",
        )
    other = [key for key in _watched(box) if theirs.get(key) != ours.get(key)]
    if keys.offers_own_keys(box) and int(theirs["identityfiles"]) > offered.MOST:
        other.append("identityfile")
    if other:
        found = ", ".join(clean(f"{key} {theirs.get(key, '(none)')}", 80) for key in other)
        raise SshError(
            f"`ssh {name}` may fail: {file} sets for it, too: {found}",
            means=f"devbox's own commands reach {box.name}; editors and scp may not",
            fix=f"leave devbox's hosts out where {file} sets that, as in: Host * !devbox-*",
        )


def user_config() -> Path:
    """The user's ssh config, which need not exist."""
    return Path.home() / ".ssh" / "config"


def _watched(box: Box) -> list[str]:
    """What must read the same through the user's file: what our block says, and the settings that
    can stop a login and know no value for "unset"."""
    words = (
        line.split()[0].lower() for line in blocks.block(box, ssh_config.place()).splitlines()[1:]
    )
    renamed = {"pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms"}
    said = [renamed.get(word, word) for word in words if word != "identityfile"]
    return [*dict.fromkeys(said), "bindaddress", "bindinterface", "revokedhostkeys"]


@contextmanager
def _extending(file: Path) -> Iterator[None]:
    """The system's refusals as ours, with what the user can do instead."""
    try:
        yield
    except OSError as error:
        raise SshError(
            f"{file} could not be changed: {error.strerror or error}",
            means="it was left as it is; devbox's own commands work without it",
            fix=include_line.by_hand(paths.ssh_config()),
        ) from error


def _install_here() -> bool:
    file = user_config()
    before = file.read_bytes() if file.exists() else None
    if before is not None and not installed():
        _must_be_readable(file)
    if not include_line.add(file, paths.ssh_config(), _made_by_us()):
        return False
    try:
        found = parsed.settings(file, blocks.PROBE).get("hostname")
        if found != blocks.PROBE_HOST:
            raise SshError(f"ssh does not follow the Include devbox put into {file}")
    except SshError as error:
        include_line.restore(file, before, _made_by_us())
        raise SshError(
            f"{file} could not be extended: {error.what}",
            means="its previous content is back in place; devbox's own commands work without it",
            fix=include_line.by_hand(paths.ssh_config()),
        ) from error
    except BaseException:
        include_line.restore(file, before, _made_by_us())
        raise
    return True


def _must_be_readable(file: Path) -> None:
    try:
        parsed.settings(file, blocks.PROBE)
    except SshError as error:
        raise SshError(
            f"ssh itself cannot read your {file}: {error.what}",
            means="devbox did not touch it; its own commands work without it",
            fix=f"correct that (check: ssh -F {file} -G x), then: devbox ssh-config --install; "
            f"or {include_line.by_hand(paths.ssh_config())}",
        ) from error


def _made_by_us() -> Path:
    """Exists while the user's config is one that `install` created."""
    return paths.ssh_dir() / "made-user-config"

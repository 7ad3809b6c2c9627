"""devbox's own ssh config. Our tools read it with `ssh -F`, so that nothing in the user's file
can break them; the user's tools reach it through one Include (`ssh.include`).

The file is rewritten whole, under a lock, and kept only when `ssh -G` reads back what was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from devbox import files, paths
from devbox.errors import DevboxError, SshError, ToolMissing
from devbox.model import Box
from devbox.process import run
from devbox.remote import keys, offered
from devbox.remote.config import blocks, known_hosts, parsed, wsl

_PATIENCE = 5.0  # seconds for a shared connection to end


def publish(
    boxes: Sequence[Box] | Callable[[], Sequence[Box]],
    *,
    narrate: Callable[[str], None] | None = None,
) -> None:
    """Write the config and the pinned host keys of all live boxes (those without an endpoint get
    no entry yet). Pass a function to have the boxes read under the lock, so that two processes
    at once never lose one.

    A box whose endpoint is unusable is left out, and under WSL the Windows side follows where it
    can: what went wrong with either is told to `narrate` (None: raised at the end), for
    everything else works. SshError when `ssh -G` does not read back what was meant: then the
    previous file is back in place.
    """
    # Before any box is looked at: a path that ssh cannot be told of is no fault of theirs.
    blocks.render([], place())
    keys.ensure_identity()
    with files.locked(paths.ssh_dir() / "config.lock"):
        live = list(boxes() if callable(boxes) else boxes)
        if any(keys.offers_own_keys(box) for box in live):
            offered.remember_agent()
        where = place()
        good, bad = _sort_out(live, where)
        _pin(live, good)
        _write(good, where)
        troubles = [_unusable(box, error) for box, error in bad]
        if wsl.detected() and (trouble := _mirrored(good)):
            troubles.append(trouble)
    for trouble in troubles:
        if narrate is None:
            raise trouble
        narrate(trouble.render())


def check(box: Box) -> None:
    """SshError when the box's endpoint cannot be written to an ssh config."""
    for bad, error in _sort_out([box], place())[1]:
        raise _unusable(bad, error)


def forget(box: Box) -> None:
    """Close the shared connection to a box that is going away. Call it before the box leaves the
    config; no connection, or no entry, is fine. One that hangs is left to itself."""
    if paths.ssh_config().exists() and not _shared_answers(box, "exit"):
        abandon(box)


def abandon(box: Box) -> None:
    """Have whatever comes next open a shared connection of its own: the one that is there hangs,
    or is to an earlier life of the box, and ends by itself."""
    folder = paths.control_dir()
    if folder is None or not any(folder.iterdir()):
        return
    with suppress(DevboxError):  # why: then the next one finds the same
        control = parsed.settings(paths.ssh_config(), box.alias).get("controlpath", "none")
        if control != "none":
            Path(control).unlink(missing_ok=True)


def hangs(box: Box) -> bool:
    """Whether there is a shared connection that says nothing. One whose network is gone ends by
    itself (ServerAliveInterval), and answers until then."""
    return not _shared_answers(box, "check")


def _shared_answers(box: Box, request: str) -> bool:
    """Whether the shared connection takes a request of `ssh -O` in time, or there is none."""
    argv = ["ssh", "-F", str(paths.ssh_config()), "-O", request, "--", box.alias]
    try:
        run(argv, check=False, timeout=_PATIENCE)
    except ToolMissing:
        raise
    except DevboxError:
        return False
    return True


def place() -> blocks.Place:
    """Where ssh on this machine finds our files, and what it knows."""
    own = tuple(file for file in offered.own_files() if blocks.is_usable(file))
    return blocks.Place(
        paths.identity(), own, paths.known_hosts(), paths.control_dir(), parsed.keywords()
    )


def _unusable(box: Box, error: DevboxError) -> DevboxError:
    return SshError(
        f"box {box.name} has no usable ssh address: {error.what}",
        means="the other boxes are configured",
        fix=f"devbox status {box.name}",
    )


def _sort_out(
    boxes: Iterable[Box], where: blocks.Place
) -> tuple[list[Box], list[tuple[Box, DevboxError]]]:
    good: list[Box] = []
    bad: list[tuple[Box, DevboxError]] = []
    for box in boxes:
        if box.endpoint is None:
            continue
        try:
            blocks.block(box, where)
            good.append(box)
        except DevboxError as error:
            bad.append((box, error))
    return good, bad


def _mirrored(boxes: Sequence[Box]) -> DevboxError | None:
    """Bring the Windows side up to date; what stood in the way."""
    try:
        wsl.mirror(boxes)
    except DevboxError as error:
        return error
    except OSError as error:
        return SshError(f"the Windows side could not be updated: {error}")
    return None


def _pin(live: Iterable[Box], good: Iterable[Box]) -> None:
    """Pins of boxes that are gone are dropped; a gateway's stays, it serves the next box."""
    ours = {box.alias for box in live}
    told = {
        known_hosts.alias(box): box.endpoint.host_keys
        for box in good
        if box.endpoint and box.endpoint.host_keys is not None
    }
    known_hosts.update(told, forget=lambda name: name.startswith("devbox-") and name not in ours)


def _write(boxes: Sequence[Box], where: blocks.Place) -> None:
    path = paths.ssh_config()
    before = path.read_bytes() if path.exists() else None
    after = blocks.render(boxes, where).encode()
    if before == after:
        return
    old = (before or b"").decode(errors="replace")
    files.write_atomic(path, after, mode=0o600)
    try:
        _verify(blocks.PROBE, {"hostname": blocks.PROBE_HOST})
        for box in boxes:
            if blocks.block(box, where) not in old:
                _verify(box.alias, _meant(box))
    except BaseException:
        if before is None:
            path.unlink()
        else:
            files.write_atomic(path, before)
        raise


def _meant(box: Box) -> dict[str, str]:
    assert box.endpoint is not None
    return {
        "hostname": box.endpoint.host.lower(),
        "port": str(box.endpoint.port),
        "user": box.endpoint.user,
        "hostkeyalias": known_hosts.alias(box),
    }


def _verify(host: str, meant: dict[str, str]) -> None:
    settings = parsed.settings(paths.ssh_config(), host)
    wrong = [key for key, value in meant.items() if settings.get(key) != value]
    if wrong:
        raise SshError(
            f"ssh does not read {host} as devbox wrote it ({', '.join(wrong)} differ)",
            means="the previous ssh configuration is back in place",
            fix="check your OpenSSH (version 7.6 or later) with: ssh -V",
        )

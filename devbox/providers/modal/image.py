"""What a sandbox starts from, built by Modal with its log told line by line."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devbox import paths
from devbox.errors import BuildFailed
from devbox.images.render import render, write
from devbox.providers.modal.account import Account
from devbox.remote import agent_bootstrap
from devbox.spec import BoxSpec
from devbox.text import clean

if TYPE_CHECKING:
    import modal
    from modal_proto import api_pb2

BUILD = 45 * 60.0  # seconds a build may take
PYTHON = "3.12"
_PACKAGES = (
    *("openssh-server", "rsync", "git", "curl", "ca-certificates", "tmux", "procps", "less"),
)
_SHOWN = 20  # lines of a failed build's log
_PREPARE = (
    "mkdir -p /run/sshd /root/.ssh /root/.devbox-box && "
    "chmod 700 /root/.ssh /root/.devbox-box && rm -f /etc/ssh/ssh_host_*"
)


def image_for(wanted: BoxSpec) -> modal.Image:
    """The image of a spec: a registry's, when `image` names one (it has a '/' or ':'), with what a
    box needs, else a template's. Not built yet. NotFound for neither."""
    import modal

    name = wanted.image
    if "/" in name or ":" in name:
        base = modal.Image.from_registry(name, add_python=PYTHON).apt_install(*_PACKAGES)
    else:
        base = from_template(name, wanted.build_args)
    half = agent_bootstrap.build()
    # Layers of their own: Modal builds a Dockerfile as one, and this changes with devbox.
    link = f"ln -s {half.name} /root/{agent_bootstrap.LINK}"
    return base.add_local_file(
        half, f"/root/{agent_bootstrap.FOLDER}/{half.name}", copy=True
    ).run_commands(f"{_PREPARE} && {link}")


def from_template(name: str, args: Mapping[str, str]) -> modal.Image:
    """One of devbox's images, without what only a box needs. The client reads the Dockerfile when
    it builds, so it lies in the cache folder, under a name made from what it says."""
    import modal

    made = render(name, "modal", without=["box"], args=args)
    digest = hashlib.sha256(repr(made).encode()).hexdigest()[:12]
    folder = paths.cache_dir() / "images" / f"{name}-{digest}"
    write(made, folder)
    return modal.Image.from_dockerfile(folder / "Dockerfile", context_dir=folder)


def build(account: Account, wanted: BoxSpec, say: Callable[[str], None]) -> str:
    """Build unless Modal has it already; the image's id. BuildFailed with the log's last lines."""
    app = account.app(create=True)
    image = image_for(wanted)
    with told(say):
        built = account.do("building the image", lambda: image.build.aio(app), BUILD)
    return str(built.object_id)


@contextmanager
def told(say: Callable[[str], None]) -> Iterator[None]:
    """Tell the lines of builds in the block; BuildFailed gets the last ones."""
    tail: deque[str] = deque(maxlen=_SHOWN)

    def each(line: str) -> None:
        tail.append(line)
        say(line)

    try:
        with heard(each):
            yield
    except BuildFailed as error:
        log = "\n".join(f"  {line}" for line in tail)
        raise BuildFailed(
            error.what + (f"\nthe log ends with:\n{log}" if log else ""),
            means=error.means,
            fix=error.fix,
            quotes_log=bool(tail),
        ) from error


_ears: set[Callable[[str], None]] = set()
_lock = threading.Lock()


@contextmanager
def heard(each: Callable[[str], None]) -> Iterator[None]:
    """While it holds, `each` gets the lines of image builds of this process, as they come."""
    _listen()
    with _lock:
        _ears.add(each)
    try:
        yield
    finally:
        with _lock:
            _ears.discard(each)


@functools.cache
def _listen() -> None:
    """Have Modal's client tell us build logs: it has one place for them a process, silent unless
    a user has turned its own output on."""
    from modal._output.manager import DisabledOutputManager
    from modal.output import OutputManager

    class Ear(DisabledOutputManager):
        async def put_streaming_log(self, log: api_pb2.TaskLogs, prefix: str = "") -> None:
            with _lock:
                ears = list(_ears)
            for line in log.data.splitlines():
                shown = clean(line.rstrip(), 500)
                for ear in ears:
                    if shown:
                        ear(shown)

    if not OutputManager.get().is_enabled:
        OutputManager._set(Ear())

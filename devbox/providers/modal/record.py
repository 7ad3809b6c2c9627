"""A sandbox as Modal lists it, and the tags by which we know it.

Tags hold everything that must outlive this computer: whose box a sandbox is, its host key, what
it costs, and the snapshot of a paused one. Modal allows letters, digits and ._- in them.

    devbox         1
    devbox-name    the box         devbox-token  our tag, the same for all generations of a box
    devbox-host    the ed25519 host key, 32 bytes in base64url
    devbox-size    hardware.millicores.MiB          devbox-price  micro-dollars an hour.source
    devbox-state   paused: its files are in devbox-image, and it may end or has ended
                   ended: its end permanently was asked for
    devbox-image   the snapshot of a paused box
    devbox-whole   no with a new devbox-image; that snapshot's id once Modal has accepted the end
                   that follows it. Not there on a box that an older devbox paused
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from devbox import names
from devbox.errors import ProviderError, UsageError
from devbox.model import UNKNOWN_PRICE, Price
from devbox.providers.modal import entrypoint
from devbox.providers.modal.sizes import Size
from devbox.text import clean

if TYPE_CHECKING:
    from modal_proto import api_pb2

_LATE = (2, entrypoint.TOO_LATE)  # GENERIC_STATUS_FAILURE
_TERMINATED = 3  # GENERIC_STATUS_TERMINATED
PAUSED, ENDED = "paused", "ended"
OURS = {"devbox": "1"}
_HANDLE = re.compile(r"(sb-[A-Za-z0-9]{1,64})(?::(im-[A-Za-z0-9]{1,64}))?")
_IMAGE = re.compile(r"im-[A-Za-z0-9]{1,64}")
VALUE = re.compile(r"[A-Za-z0-9._-]{1,50}")
_SIZE = re.compile(r"([A-Za-z0-9_-]+)\.(\d{1,9})\.(\d{1,9})")
_ED25519 = b"ssh-ed25519"
#: what a name of hardware has and a tag cannot → how it is spelled there
_SIGNS = {":": "_", "!": "-exact", "+": "-plus"}


class Record(NamedTuple):
    """One sandbox. scheduled: it has got its machine. started, ended: unix seconds, None while not
    so or not told. status: Modal's result code, 0 while it has none. base: the image it started
    from. timeout: seconds from the start. tags: all of them."""

    id: str
    created: float
    scheduled: bool
    started: float | None
    ended: float | None
    status: int
    code: int
    reason: str
    base: str
    timeout: float
    tags: Mapping[str, str]

    @property
    def over(self) -> bool:
        """Has its result. Before that it may have ended and still hold its name."""
        return bool(self.status)

    @property
    def untouched(self) -> bool:
        """It is over without having run for anybody: it got no machine, or one too late."""
        return self.over and (not self.scheduled or (self.status, self.code) == _LATE)

    @property
    def token(self) -> str:
        return self.tags.get("devbox-token", "")

    @property
    def name(self) -> str:
        return self.tags.get("devbox-name", "")

    @property
    def state(self) -> str:
        return self.tags.get("devbox-state", "")

    @property
    def image(self) -> str:
        """The snapshot that holds its files; empty when there is none."""
        image = self.tags.get("devbox-image", "")
        return image if self.state == PAUSED and _IMAGE.fullmatch(image) else ""

    @property
    def whole(self) -> bool:
        """Whether that snapshot has its last files: the pause ended it right after. A sandbox
        whose pause was cut off before that may have written more. Of one that an older devbox
        paused, an end that was asked for counts as the pause's."""
        asked = self.tags.get("devbox-whole", self.image) == self.image
        return bool(self.image) and asked and self.status == _TERMINATED

    @property
    def ours(self) -> bool:
        """Whether its tags are those of a box."""
        try:
            names.name(self.name)
        except UsageError:
            return False
        return self.tags.get("devbox") == "1" and bool(VALUE.fullmatch(self.token))

    @property
    def host_key(self) -> str | None:
        """The line of its sshd's public key."""
        try:
            raw = base64.urlsafe_b64decode(self.tags.get("devbox-host", "") + "=")
        except ValueError:
            return None
        if len(raw) != 32:
            return None
        blob = b"".join(struct.pack(">I", len(part)) + part for part in (_ED25519, raw))
        return f"ssh-ed25519 {base64.b64encode(blob).decode()}"

    @property
    def size(self) -> Size | None:
        found = _SIZE.fullmatch(self.tags.get("devbox-size", ""))
        if not found:
            return None
        hardware = found[1]
        for sign, word in _SIGNS.items():
            hardware = hardware.replace(word, sign)
        return Size(hardware, int(found[2]) / 1000, int(found[3]))

    @property
    def price(self) -> Price:
        """As it was when the sandbox was made."""
        micro, _, source = self.tags.get("devbox-price", "").partition(".")
        return Price(int(micro), source.replace("_", " ")) if micro.isdecimal() else UNKNOWN_PRICE


def of_info(info: api_pb2.SandboxInfo) -> Record:
    task = info.task_info
    return Record(
        id=info.id,
        created=info.created_at,
        scheduled=bool(task.id or task.started_at),
        started=task.started_at or None,
        ended=task.finished_at or None,
        status=task.result.status,
        code=task.result.exitcode,
        reason=clean(task.result.exception, 300),
        base=info.image_id,
        timeout=float(info.timeout_secs),
        tags=of_tags(info.tags),
    )


def of_tags(tags: Iterable[api_pb2.SandboxTag]) -> dict[str, str]:
    return {tag.tag_name: tag.tag_value for tag in tags}


def to_tags(api: ModuleType, tags: Mapping[str, str]) -> list[api_pb2.SandboxTag]:
    return [api.SandboxTag(tag_name=name, tag_value=value) for name, value in tags.items()]


def new_tags(name: str, token: str, host_key: str, size: Size, price: Price) -> dict[str, str]:
    """The tags of a new sandbox. host_key: the line of its public key."""
    tags = {
        **OURS,
        "devbox-name": names.name(name),
        "devbox-token": token,
        "devbox-host": host_tag(host_key),
        "devbox-size": f"{_spelled(size.hardware)}.{round(size.cores * 1000)}.{size.mib}",
        "devbox-price": f"{price.micro_per_hour}.{price.source.replace(' ', '_')}",
    }
    for tag, value in tags.items():
        if not VALUE.fullmatch(value):
            raise ProviderError(f"Modal's tag {tag} cannot hold {clean(value, 60)!r}")
    return tags


def _spelled(hardware: str) -> str:
    for sign, word in _SIGNS.items():
        hardware = hardware.replace(sign, word)
    return hardware


def host_tag(line: str) -> str:
    """The tag of an ed25519 public key, given as its 'ssh-ed25519 AAAA…' line."""
    kind, _, rest = line.partition(" ")
    if kind != _ED25519.decode():
        raise ProviderError(f"the box's host key is {clean(kind, 30)}; Modal boxes take ed25519")
    raw = base64.b64decode(rest.split()[0])[-32:]
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def handle(sandbox: str, image: str = "") -> str:
    """What devbox remembers of a box: its sandbox, and its snapshot while it is paused, so that
    the files are found even when Modal has forgotten the sandbox."""
    return f"{sandbox}:{image}" if image else sandbox


def parse(text: str) -> tuple[str, str]:
    """(sandbox id, snapshot's image id or empty) of a handle."""
    found = _HANDLE.fullmatch(text)
    if not found:
        raise ProviderError(f"{clean(text, 60)!r} is not the handle of a Modal box")
    return found[1], found[2] or ""

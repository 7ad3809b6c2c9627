"""Lines of an image build and of a sandbox's main process, as they come."""

from __future__ import annotations

from collections.abc import Iterator

from devbox.providers.modal.account import Account
from devbox.providers.modal.record import Record
from devbox.text import clean

_LONGEST = 2000  # characters of a line
_LAST = 500  # entries of the past
_HOLD = 20.0  # seconds that a call waits for news


def build(account: Account, found: Record) -> Iterator[str]:
    """The log of the image's last layer. A sandbox has an image, so its build has ended."""
    if not found.base:
        return
    last = ""
    while True:
        replies = account.stream(
            "reading the build log",
            "ImageJoinStreaming",
            lambda api: api.ImageJoinStreamingRequest(
                image_id=found.base,
                timeout=_HOLD,
                last_entry_id=last,  # noqa: B023
                include_logs_for_finished=True,
            ),
        )
        ended = False
        for reply in replies:
            last = reply.entry_id or last
            ended = ended or bool(reply.eof or reply.result.status)
            for log in reply.task_logs:
                yield from _lines(log.data)
        if ended:
            return


def run(account: Account, found: Record, *, follow: bool) -> Iterator[str]:
    """The main process's output, both streams; what programs in ssh sessions write is not in
    it. Follows until the sandbox ends."""
    if not follow:
        yield from _past(account, found)
        return
    last = ""
    while True:
        replies = account.stream(
            "reading the log",
            "SandboxGetLogs",
            lambda api: api.SandboxGetLogsRequest(
                sandbox_id=found.id,
                timeout=_HOLD,
                last_entry_id=last,  # noqa: B023
            ),
        )
        for reply in replies:
            last = reply.entry_id or last
            for log in reply.items:
                yield from _lines(log.data)
            if reply.eof:
                return


def _past(account: Account, found: Record) -> Iterator[str]:
    client = account.client()
    import modal

    async def tail() -> list[str]:
        sandbox = await modal.Sandbox.from_id.aio(found.id, client=client)
        return [entry.message async for entry in sandbox.logs.tail.aio(_LAST)]

    for message in account.do("reading the log", tail):
        yield from _lines(message)


def _lines(data: object) -> Iterator[str]:
    for line in str(data).splitlines():
        yield clean(line, _LONGEST)

"""The calls to Modal about sandboxes, one method each. They raise devbox.errors types only."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from devbox import names
from devbox.errors import Gone, ProviderError
from devbox.providers.modal import record
from devbox.providers.modal.account import CALL, Account
from devbox.providers.modal.errors import Unsupported
from devbox.providers.modal.launch import PORT
from devbox.providers.modal.record import Record
from devbox.text import clean

if TYPE_CHECKING:
    import modal
    from modal_proto import api_pb2

T = TypeVar("T")
SNAPSHOT = 15 * 60.0
KEPT = 30 * 24 * 3600  # seconds a snapshot is kept, Modal's default


class Sandboxes:
    """The sandboxes of one account's app."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def named(self, name: str) -> str | None:
        """The id of the sandbox of that name which runs, or is on its way; None when none is."""
        if self._account.app_id() is None:
            return None
        try:
            reply = self._account.rpc(
                f"looking for {name}",
                "SandboxGetFromName",
                lambda api: api.SandboxGetFromNameRequest(
                    sandbox_name=name,
                    app_name=self._account.app_name,
                    environment_name=self._account.environment,
                ),
            )
        except Gone:
            return None
        return str(reply.sandbox_id)

    def listed(self, *, since: float = 0.0, **tags: str) -> list[Record]:
        """Our sandboxes, the finished ones included, newest first: those made after `since`
        (unix seconds) with these tags besides (`token="x"` is devbox-token)."""
        app_id = self._account.app_id()
        if app_id is None:
            return []
        wanted = {**record.OURS, **{f"devbox-{key}": value for key, value in tags.items()}}
        found: list[Record] = []
        before: float | None = None
        while True:
            reply = self._account.rpc(
                "listing sandboxes",
                "SandboxList",
                lambda api: api.SandboxListRequest(
                    app_id=app_id,
                    before_timestamp=before,  # noqa: B023
                    include_finished=True,
                    tags=record.to_tags(api, wanted),
                ),
            )
            page = [record.of_info(info) for info in reply.sandboxes]
            found += [each for each in page if each.ours and each.created >= since]
            if not page or page[-1].created < since or page[-1].created == before:
                return found
            before = page[-1].created

    def tags(self, sandbox: str) -> dict[str, str]:
        """Its tags; Gone when Modal does not know it."""
        reply = self._account.rpc(
            f"reading the tags of {sandbox}",
            "SandboxTagsGet",
            lambda api: api.SandboxTagsGetRequest(sandbox_id=sandbox),
        )
        return record.of_tags(reply.tags)

    def tag(self, sandbox: str, changes: Mapping[str, str]) -> None:
        """Change some of its tags and keep the others."""
        wanted = {**self.tags(sandbox), **changes}
        self._account.rpc(
            f"tagging {sandbox}",
            "SandboxTagsSet",
            lambda api: api.SandboxTagsSetRequest(
                environment_name=self._account.environment,
                sandbox_id=sandbox,
                tags=record.to_tags(api, wanted),
            ),
        )

    def unlisted(self, sandbox: str, tags: Mapping[str, str]) -> Record:
        """One that the listing lacks, because it lags behind: without its times."""
        task = self._account.rpc(
            f"looking at {sandbox}",
            "SandboxGetTaskId",
            lambda api: api.SandboxGetTaskIdRequest(sandbox_id=sandbox, timeout=0.5),
        )
        result = task.task_result
        return Record(
            id=sandbox,
            created=math.inf,
            scheduled=bool(task.task_id),
            started=None,
            ended=None,
            status=result.status,
            code=result.exitcode,
            reason=clean(result.exception, 300),
            base="",
            timeout=0.0,
            tags=tags,
        )

    def tunnel(self, sandbox: str) -> tuple[str, int] | None:
        """Where its sshd answers: host and port; None while that is not known."""
        for each in self._tunnels(sandbox):
            if each.container_port == PORT and each.unencrypted_host:
                return names.host(each.unencrypted_host), names.port(each.unencrypted_port)
        return None

    def public(self, sandbox: str, port: int) -> tuple[str, int] | None:
        """Where that port answers over https; None while that is not known."""
        for each in self._tunnels(sandbox):
            if each.container_port == port and port != PORT and each.host:
                return names.host(each.host), names.port(each.port)
        return None

    def _tunnels(self, sandbox: str) -> list[api_pb2.TunnelData]:
        reply = self._account.rpc(
            f"asking for the tunnel of {sandbox}",
            "SandboxGetTunnels",
            lambda api: api.SandboxGetTunnelsRequest(sandbox_id=sandbox, timeout=1.0),
        )
        return list(reply.tunnels)

    def terminate(self, sandbox: str) -> None:
        """Ask it to end. Success when it is over; Gone when Modal does not know it."""
        self._account.rpc(
            f"ending {sandbox}",
            "SandboxTerminate",
            lambda api: api.SandboxTerminateRequest(sandbox_id=sandbox),
        )

    def snapshot(self, sandbox: str) -> str:
        """The id of an image of its files as they are now. Gone when it has ended."""
        image = self._with(
            f"taking the snapshot of {sandbox}",
            sandbox,
            lambda box: box.snapshot_filesystem.aio(int(SNAPSHOT), ttl=KEPT),
            SNAPSHOT + CALL,
        )
        return str(image.object_id)

    def exit_snapshot(self, sandbox: str) -> str | None:
        """The image that Modal made of its files when it ended; empty while that may still come,
        None when there will be none.

        Of Modal's refusals only TIMEOUT and FILESYSTEM_INCONSISTENT are final, as its own client
        has it (`_EXIT_SNAPSHOT_NOT_FOUND_ERROR_CODES` of modal 1.6.4): INTERNAL and an answer
        without an outcome prove nothing about the files and are asked again at the next look.
        """
        try:
            reply = self._account.rpc(
                f"asking for what {sandbox} left",
                "SandboxGetExitSnapshot",
                lambda api: api.SandboxGetExitSnapshotRequest(sandbox_id=sandbox, timeout=0.0),
            )
        except ProviderError as error:
            if type(error) in (Gone, ProviderError, Unsupported):
                return None  # why: not found, invalid, unimplemented: there is none
            raise
        if reply.WhichOneof("outcome") == "error" and reply.error.error_code in (
            reply.ERROR_CODE_TIMEOUT,
            reply.ERROR_CODE_FILESYSTEM_INCONSISTENT,
        ):
            return None
        return str(reply.success.image_id)

    def has_image(self, image: str) -> bool:
        """Whether Modal still keeps an image."""
        try:
            self._account.rpc(
                f"looking for {image}",
                "ImageFromId",
                lambda api: api.ImageFromIdRequest(image_id=image),
            )
        except Gone:
            return False
        return True

    def delete_image(self, image: str) -> None:
        """Delete a snapshot; one that is gone is success."""
        try:
            self._account.rpc(
                f"deleting {image}",
                "ImageDelete",
                lambda api: api.ImageDeleteRequest(image_id=image),
            )
        except Gone:
            return

    def run(self, sandbox: str, argv: Sequence[str], limit: float = CALL) -> int:
        """Run a command in it, by Modal's own exec; its exit code."""

        async def execute(box: modal.Sandbox) -> int:
            process = await box.exec.aio(*argv, timeout=int(limit))
            return int(await process.wait.aio())

        return self._with(f"running a command in {sandbox}", sandbox, execute, limit)

    def _with(
        self,
        doing: str,
        sandbox: str,
        action: Callable[[modal.Sandbox], Awaitable[T]],
        limit: float,
    ) -> T:
        """Something of the client's own sandbox object, which is let go of afterwards."""
        client = self._account.client()
        import modal

        async def work() -> T:
            box = await modal.Sandbox.from_id.aio(sandbox, client=client)
            try:
                return await action(box)
            finally:
                await box.detach.aio()  # type: ignore[no-untyped-call]  # why: its stub has no types

        return self._account.do(doing, work, limit)

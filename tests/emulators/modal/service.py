"""The gRPC door: every call is told, may be made to fail, is authenticated, answered, recorded.

Order of one call: the ``before`` hook, then an armed fault, then the effect,
then the ``after`` hook, then the answer. A ``before`` hook that returns false
drops the call without an effect, as if the client had died before it asked;
it may also arm a fault for the very call it was told of. An effect that has
begun is always completed, even when the client goes away meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.exceptions import StreamTerminatedError
from modal_proto import api_pb2

from tests.emulators.common import Calls, Clock, Fault, FaultKind, Knobs

Metadata = Mapping[str, Any]
Authenticate = Callable[[str, Metadata], None]
KEPT_EFFECTS = 1024
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Service:
    """One gRPC service whose methods are found by name in ``rooms``.

    A method takes ``(request, metadata)`` and returns a reply or yields
    replies; of a client-streaming call it takes the stream itself. A ``V2``
    call without a method of its own is answered by the one without the suffix.
    What nobody answers is UNIMPLEMENTED and recorded as unexpected.
    """

    def __init__(
        self,
        base: Any,
        rooms: list[object],
        *,
        calls: Calls,
        knobs: Knobs,
        clock: Clock,
        authenticate: Authenticate,
        dedupe_retries: bool,
    ) -> None:
        self._base = base
        self._rooms = rooms
        self._calls = calls
        self._knobs = knobs
        self._clock = clock
        self._authenticate = authenticate
        self._dedupe = dedupe_retries
        self._effects: OrderedDict[str, asyncio.Task[Any]] = OrderedDict()
        self._running: set[asyncio.Task[Any]] = set()

    def __mapping__(self) -> dict[str, Handler]:
        """What :class:`grpclib.server.Server` asks for."""

        async def absent(_self: object, _stream: object) -> None:
            raise GRPCError(Status.UNIMPLEMENTED, "the emulator does not have this call")

        names = self._base.__abstractmethods__
        filled = type("Filled", (self._base,), dict.fromkeys(names, absent))
        return {path: self._guarded(path, h) for path, h in filled().__mapping__().items()}

    def _guarded(self, path: str, handler: Handler) -> Handler:
        name = path.rpartition("/")[2]
        method = self._method(name)
        takes_stream = handler.cardinality.client_streaming

        async def answer(stream: Any) -> None:
            outcome = "gone"
            try:
                request = stream if takes_stream else await stream.recv_message()
                outcome = await self._answer(name, method, handler, stream, request)
            except GRPCError as refused:
                outcome = refused.status.name
                raise
            except TimeoutError:
                outcome = Status.DEADLINE_EXCEEDED.name
                raise
            except (StreamTerminatedError, ConnectionError):
                raise
            except Exception as error:
                outcome = "UNKNOWN"
                self._calls.record_unexpected(f"{name}: {error!r}")
                raise GRPCError(Status.UNKNOWN, f"the emulator failed: {error!r}") from error
            finally:
                self._calls.record(name, self._clock.now(), outcome)

        return Handler(answer, handler.cardinality, handler.request_type, handler.reply_type)

    async def _later(self, seconds: float, effect: Coroutine[Any, Any, Any]) -> Any:
        await self._clock.sleep(seconds)
        return await effect

    def _method(self, name: str) -> Callable[..., Any] | None:
        for candidate in (name, name.removesuffix("V2")):
            for room in self._rooms:
                if (method := getattr(room, candidate, None)) is not None:
                    found: Callable[..., Any] = method
                    return found
        return None

    async def _answer(
        self,
        name: str,
        method: Callable[..., Any] | None,
        handler: Handler,
        stream: Any,
        request: Any,
    ) -> str:
        metadata: Metadata = stream.metadata or {}
        if not self._calls.tell(name, "before"):
            cut(stream)
            return "dropped"
        fault = self._knobs.take_transport(name)
        if fault is not None and fault.kind is FaultKind.RESET:
            cut(stream)
            return "reset"
        if fault is not None and fault.kind is FaultKind.STATUS:
            raise as_grpc_error(fault)
        self._authenticate(name, metadata)
        if method is None:
            self._calls.record_unexpected(name)
            raise GRPCError(Status.UNIMPLEMENTED, f"the emulator does not implement {name}")
        if handler.cardinality.server_streaming:
            replies: AsyncIterator[Any] = method(request, metadata)
        else:
            effect = method(request, metadata)
            if fault is not None and fault.kind is FaultKind.LATE:
                effect = self._later(fault.seconds, effect)
            reply = await self._effect(name, effect, metadata)
            replies = _one(reply)
        self._calls.tell(name, "after")
        if fault is not None and fault.kind is FaultKind.REPLY_LOST:
            cut(stream)
            return "lost"
        if fault is not None and fault.kind is FaultKind.LATENCY:
            await asyncio.sleep(fault.seconds)
        async for each in replies:
            await stream.send_message(each)
        return "OK"

    async def _effect(self, name: str, work: Coroutine[Any, Any, Any], metadata: Metadata) -> Any:
        """Complete ``work`` whatever happens to the client; a retried call joins the first one."""
        key = f"{name} {metadata['x-idempotency-key']}" if "x-idempotency-key" in metadata else ""
        if self._dedupe and key in self._effects:
            work.close()
            return await asyncio.shield(self._effects[key])
        task = asyncio.ensure_future(work)
        self._running.add(task)
        if key:
            self._effects[key] = task
            if len(self._effects) > KEPT_EFFECTS:
                self._effects.popitem(last=False)

        def finish(_: object) -> None:
            self._running.discard(task)
            if task.cancelled() or task.exception() is not None:
                self._effects.pop(key, None)

        task.add_done_callback(finish)
        return await asyncio.shield(task)


def as_grpc_error(fault: Fault) -> GRPCError:
    """The gRPC twin of an HTTP status; ``retry_after`` becomes Modal's retry policy."""
    status = {
        401: Status.UNAUTHENTICATED,
        402: Status.PERMISSION_DENIED,
        403: Status.PERMISSION_DENIED,
        404: Status.NOT_FOUND,
        409: Status.ALREADY_EXISTS,
        412: Status.FAILED_PRECONDITION,
        429: Status.RESOURCE_EXHAUSTED,
        500: Status.INTERNAL,
    }.get(fault.status, Status.UNAVAILABLE)
    if fault.retry_after is None:
        return GRPCError(status, fault.message)
    policy = api_pb2.RPCRetryPolicy(retry_after_secs=fault.retry_after)
    return GRPCError(status, fault.message, [policy])


def cut(stream: Any) -> None:
    """Reset the client's TCP connection, with every call that runs on it."""
    transport = stream._stream._transport
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
    transport.abort()


async def _one(reply: Any) -> AsyncIterator[Any]:
    yield reply

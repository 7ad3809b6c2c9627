"""The Modal account: the real client, opened once, and every call bounded in time.

What the client's public interface leaves out goes through `Account.rpc`, the one place that uses
its gRPC stub: creating a sandbox without waiting for capacity, and listings with times, tags and
finished sandboxes. The messages are those of the installed `modal_proto`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from devbox import secrets
from devbox.errors import Gone
from devbox.providers import library_logs
from devbox.providers.modal.errors import not_installed, translated
from devbox.spec import ModalSettings
from devbox.text import clean

if TYPE_CHECKING:
    import modal
    from google.protobuf.message import Message
    from modal.client import _Client

T = TypeVar("T")
Make = Callable[[ModuleType], "Message"]  # a message from `api_pb2`

APP = "devbox"
CALL = 60.0  # seconds that one call may take, the client's own retries included
_THROTTLED = "20"  # seconds the client waits by itself when Modal asks it to slow down

_clients: dict[tuple[str, ...], modal.Client] = {}
_lock = threading.Lock()


def resolve(config: ModalSettings) -> ModalSettings:
    """The settings with the server and environment of Modal's own configuration (MODAL_* and the
    profile) where they name none."""
    try:
        from modal.config import config as theirs
    except ImportError:
        return config  # why: the first call tells how to install it
    return msgspec.structs.replace(
        config,
        server_url=config.server_url or str(theirs.get("server_url") or ""),
        environment=config.environment or str(theirs.get("environment") or ""),
        namespace=config.namespace or APP,
    )


class Account:
    """Of the settings, server_url: in place of Modal's; environment, namespace (the app's name):
    where our sandboxes are. What they leave empty is as in Modal's own configuration."""

    def __init__(self, config: ModalSettings) -> None:
        self._config = config
        self.app_name = config.namespace or APP
        self._app: modal.App | None = None

    @functools.cached_property
    def _settings(self) -> ModalSettings:
        """Asked for late, as Modal's package is slow to load."""
        return resolve(self._config)

    @property
    def environment(self) -> str:
        """The environment of our sandboxes; empty for the workspace's default."""
        return self._settings.environment

    @property
    def server_url(self) -> str:
        """Modal's, or the one that stands in for it."""
        return self._settings.server_url

    def client(self) -> modal.Client:
        """The open client. AuthError without credentials, ToolMissing without the package."""
        secrets.require_private(self._settings.server_url, "the Modal")
        with translated("connecting to Modal"):
            return _open(self._settings.server_url)

    def workspace(self, limit: float = CALL) -> str:
        """The name of the workspace that the token belongs to. Modal gives names no ids."""
        reply = self.rpc("asking for the workspace", "WorkspaceNameLookup", _empty, limit)
        return clean(reply.workspace_name or reply.username, 80)

    @property
    def key(self) -> str:
        """Names the workspace, where what is kept of one must not be used for another."""
        secretless = [os.environ.get(f"MODAL_{each}", "") for each in ("TOKEN_ID", "PROFILE")]
        server = self._config.server_url or os.environ.get("MODAL_SERVER_URL", "")
        return "\n".join([server, *secretless])

    def rpc(self, doing: str, name: str, request: Make, limit: float = CALL) -> Message:
        """One call of Modal's gRPC interface. request: makes the message from `api_pb2`."""
        client = self.client()
        with translated(doing):
            from modal_proto import api_pb2

            return run(_unary().aio(client, name, request(api_pb2)), limit)

    def stream(self, doing: str, name: str, request: Make) -> Iterator[Message]:
        """The replies of a streaming call of Modal's gRPC interface, as they come."""
        client = self.client()
        with translated(doing):
            from modal_proto import api_pb2

            yield from _streaming()(client, name, request(api_pb2))

    def do(self, doing: str, action: Callable[[], Awaitable[T]], limit: float = CALL) -> T:
        """Run a coroutine of the public interface (its `.aio` forms)."""
        with translated(doing):
            return run(action(), limit)

    def app(self, *, create: bool) -> modal.App:
        """The app that holds our sandboxes; Gone when there is none yet."""
        if self._app is None:
            client = self.client()
            import modal  # why here: client() tells a user when it is not installed

            self._app = self.do(
                f"looking up the app {self.app_name}",
                lambda: modal.App.lookup.aio(
                    self.app_name,
                    client=client,
                    environment_name=self.environment or None,
                    create_if_missing=create,
                ),
            )
        return self._app

    def app_id(self) -> str | None:
        """The app's id; None while there is no such app."""
        try:
            return str(self.app(create=False).app_id)
        except Gone:
            return None


def run(work: Awaitable[T], limit: float) -> T:
    """Run to the end, or cancel and raise TimeoutError after `limit` seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(limit):
            return await work

    return asyncio.run(bounded())


def _open(server_url: str) -> modal.Client:
    """One client a process, server and token; Modal's own configuration says which token."""
    try:
        import modal
        from modal.config import config
    except ImportError as error:
        raise not_installed() from error
    library_logs.take("modal-client")
    with _lock:
        if config.get("max_throttle_wait") is None:
            os.environ["MODAL_MAX_THROTTLE_WAIT"] = _THROTTLED
        token, secret = config.get("token_id"), config.get("token_secret")
        key = (str(os.getpid()), server_url, token or "", secret or "")
        client = _clients.get(key)
        if client is None or client.is_closed():
            with _server(server_url):
                if token and secret:
                    client = modal.Client.from_credentials(token, secret)
                else:
                    client = modal.Client.from_env()  # knows OAuth, and says what is missing
            _clients[key] = client
        return client


@contextmanager
def _server(url: str) -> Iterator[None]:
    """The client reads its server from the environment when it is opened, and only then; another
    account of this process must not inherit it."""
    before = os.environ.get("MODAL_SERVER_URL")
    os.environ["MODAL_SERVER_URL"] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ["MODAL_SERVER_URL"]
        else:
            os.environ["MODAL_SERVER_URL"] = before


def _empty(_: object) -> Message:
    from google.protobuf.empty_pb2 import Empty

    return Empty()


class _Unary(Protocol):
    async def aio(self, client: modal.Client, name: str, request: Message) -> Message: ...


@functools.cache
def _unary() -> _Unary:
    """The stub's calls on the client's own event loop, as the client's own objects make them."""
    from modal._utils.async_utils import synchronizer

    async def unary(client: _Client, name: str, request: Message) -> Message:
        return await getattr(client._stub, name)(request)

    made: _Unary = synchronizer.create_blocking(unary, "unary", __name__)
    return made


@functools.cache
def _streaming() -> Callable[[modal.Client, str, Message], Iterator[Message]]:
    from modal._utils.async_utils import synchronizer

    async def streaming(client: _Client, name: str, request: Message) -> AsyncIterator[Message]:
        async for reply in getattr(client._stub, name).unary_stream(request):
            yield reply

    made: Callable[[modal.Client, str, Message], Iterator[Message]]
    made = synchronizer.create_blocking(streaming, "streaming", __name__)
    return made

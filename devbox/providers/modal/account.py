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
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from devbox.errors import Gone
from devbox.providers.modal.errors import not_installed, translated

if TYPE_CHECKING:
    import modal

T = TypeVar("T")

APP = "devbox"
CALL = 60.0  # seconds that one call may take, the client's own retries included
_THROTTLED = "20"  # seconds the client waits by itself when Modal asks it to slow down

_clients: dict[tuple[str, ...], modal.Client] = {}
_lock = threading.Lock()


class Account:
    """server_url: in place of Modal's, empty for MODAL_SERVER_URL or Modal itself. environment,
    app: where our sandboxes are; empty for the profile's environment."""

    def __init__(self, server_url: str = "", environment: str = "", app: str = "") -> None:
        self._server_url = server_url
        self._environment = environment
        self.app_name = app or APP
        self._app: Any = None

    def client(self) -> modal.Client:
        """The open client. AuthError without credentials, ToolMissing without the package."""
        with translated("connecting to Modal"):
            return _open(self._server_url)

    @property
    def environment(self) -> str:
        """The environment of our sandboxes; empty for the workspace's default."""
        if self._environment:
            return self._environment
        from modal.config import config

        return str(config.get("environment") or "")

    @property
    def key(self) -> str:
        """Names the workspace, where what is kept of one must not be used for another."""
        secretless = [os.environ.get(f"MODAL_{each}", "") for each in ("TOKEN_ID", "PROFILE")]
        server = self._server_url or os.environ.get("MODAL_SERVER_URL", "")
        return "\n".join([server, *secretless])

    def rpc(self, doing: str, name: str, request: Callable[[Any], Any], limit: float = CALL) -> Any:
        """One call of Modal's gRPC interface. request: makes the message from `api_pb2`."""
        client = self.client()
        with translated(doing):
            from modal_proto import api_pb2

            return run(_unary().aio(client, name, request(api_pb2)), limit)

    def stream(self, doing: str, name: str, request: Callable[[Any], Any]) -> Iterator[Any]:
        """The replies of a streaming call of Modal's gRPC interface, as they come."""
        client = self.client()
        with translated(doing):
            from modal_proto import api_pb2

            yield from _streaming()(client, name, request(api_pb2))

    def do(
        self, doing: str, action: Callable[[], Coroutine[Any, Any, T]], limit: float = CALL
    ) -> T:
        """Run a coroutine of the public interface (its `.aio` forms)."""
        with translated(doing):
            return run(action(), limit)

    def app(self, *, create: bool) -> Any:
        """The app that holds our sandboxes, as a modal.App; Gone when there is none yet."""
        if self._app is None:
            client = self.client()
            import modal  # why here: client() tells a person when it is not installed

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


def run(work: Coroutine[Any, Any, T], limit: float) -> T:
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
    with _lock:
        if server_url:
            os.environ["MODAL_SERVER_URL"] = server_url
        if config.get("max_throttle_wait") is None:
            os.environ["MODAL_MAX_THROTTLE_WAIT"] = _THROTTLED
        token, secret = config.get("token_id"), config.get("token_secret")
        key = (str(os.getpid()), config.get("server_url"), token or "", secret or "")
        client = _clients.get(key)
        if client is None or client.is_closed():
            if token and secret:
                client = modal.Client.from_credentials(token, secret)
            else:
                client = modal.Client.from_env()  # knows OAuth, and says what is missing
            _clients[key] = client
        return client


@functools.cache
def _unary() -> Any:
    """The stub's calls on the client's own event loop, as the client's own objects make them."""
    from modal._utils.async_utils import synchronizer

    async def unary(client: Any, name: str, request: Any) -> Any:
        return await getattr(client._stub, name)(request)

    return synchronizer.create_blocking(unary, "unary", __name__)


@functools.cache
def _streaming() -> Any:
    from modal._utils.async_utils import synchronizer

    async def streaming(client: Any, name: str, request: Any) -> Any:
        async for reply in getattr(client._stub, name).unary_stream(request):
            yield reply

    return synchronizer.create_blocking(streaming, "streaming", __name__)

"""The Hub emulator as a test holds it: a context manager around server, gateway and state."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import TracebackType

import asyncssh
from aiohttp import web

from tests.emulators.common import Calls, Clock, Knobs, LoopThread, Meter
from tests.emulators.common.calls import OnCall
from tests.emulators.gateway import Gateway
from tests.emulators.hf import account_routes, billing_routes, job_routes, repo_routes, space_routes
from tests.emulators.hf.account import Account
from tests.emulators.hf.http import guarded, unexpected
from tests.emulators.hf.hub import Hub, Times
from tests.emulators.hf.job import Job
from tests.emulators.hf.limits import RateLimit
from tests.emulators.hf.space import Space

TOKEN = "hf_emulated"
LARGEST_REQUEST = 1 << 30

ROUTES = (
    *account_routes.ROUTES,
    *billing_routes.ROUTES,
    *space_routes.ROUTES,
    *job_routes.ROUTES,
    *repo_routes.ROUTES,
)


class HfEmulator:
    """An emulated Hugging Face Hub on loopback, with its SSH gateway.

    >>> with HfEmulator() as hub:
    ...     api = HfApi(endpoint=hub.endpoint, token=hub.token)

    ``clock`` defaults to the real one; pass ``Clock.manual()`` to step time
    with :meth:`advance`. ``state_dir`` holds boxes and volumes and is a
    temporary folder by default. State is read from any thread, changed through
    the account's fields, the knobs, and the methods here.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        times: Times | None = None,
        account: Account | None = None,
        state_dir: Path | None = None,
        port: int = 0,
        gateway_port: int = 0,
    ) -> None:
        self._own_dir = state_dir is None
        self.state_dir = state_dir or Path(tempfile.mkdtemp(prefix="hub-"))
        self.token = TOKEN
        account = account or Account()
        account.add_token(TOKEN)
        self.hub = Hub(clock or Clock(), times or Times(), account, self.state_dir)
        self._ports = (port, gateway_port)

    def __enter__(self) -> HfEmulator:
        self._thread = LoopThread("hub")
        self._thread.run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.run(self._stop())
        self._thread.stop()
        if self._own_dir:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    # What tests look at ------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return self.hub.endpoint

    @property
    def gateway_host_port(self) -> str:
        """``127.0.0.1:PORT`` in place of ``ssh.hf.space`` and ``ssh.hf.jobs``."""
        return self.hub.gateway_address

    @property
    def account(self) -> Account:
        return self.hub.account

    @property
    def clock(self) -> Clock:
        return self.hub.clock

    @property
    def knobs(self) -> Knobs:
        return self.hub.knobs

    @property
    def calls(self) -> Calls:
        return self.hub.calls

    @property
    def meter(self) -> Meter:
        return self.hub.meter

    @property
    def spaces(self) -> dict[str, Space]:
        """Spaces by id."""
        return self.hub.spaces

    @property
    def jobs(self) -> dict[str, Job]:
        """Jobs by id, ended ones too."""
        return self.hub.jobs

    @property
    def full(self) -> set[str]:
        """Flavors of which no machine is free: a Job on one stays SCHEDULING until it is taken out,
        a Space starts without a machine and fails."""
        return self.hub.full

    @property
    def unexpected(self) -> list[str]:
        """Requests the emulator does not implement or failed at; assert this is empty."""
        return self.hub.calls.unexpected

    @property
    def on_call(self) -> OnCall | None:
        """The campaign's hook, see :class:`tests.emulators.common.Calls`."""
        return self.hub.calls.on_call

    @on_call.setter
    def on_call(self, hook: OnCall | None) -> None:
        self.hub.calls.on_call = hook

    def env(self) -> dict[str, str]:
        """The environment that points the real client library here."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_XET": "1",
            "DEVBOX_SPACE_CODE": "app",  # a box here is a folder: its /app is below its home
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    # What tests do to it -----------------------------------------------------

    def advance(self, seconds: float) -> float:
        """Move the clock ahead, firing what falls due; returns the new time."""
        return self.clock.advance(seconds)

    def limit_rate(self, requests: int, seconds: float) -> None:
        """From now on answer 429 past ``requests`` per ``seconds`` of emulator time."""
        self.hub.rate_limit = RateLimit(self.clock, requests, seconds)

    def reprice(self, kind: str, name: str, usd_per_hour: float) -> None:
        """Another price for a flavour of ``spaces`` or ``jobs``, for what runs on it too."""

        async def work() -> None:
            flavors = self.hub.flavors[kind]
            flavors[name] = replace(flavors[name], usd_per_hour=usd_per_hour)
            jobs = [(job.id, job.rate) for job in self.jobs.values() if job.flavor.name == name]
            spaces = [
                (space.id, space.flavor.micro_usd_per_second)
                for space in self.spaces.values()
                if space.flavor.name == name
            ]
            billing = self.meter.billing()
            for handle, rate in spaces if kind == "spaces" else jobs:
                if handle in billing:
                    self.meter.start(handle, rate, name)

        self._thread.run(work())

    def pause_space(self, space_id: str) -> None:
        """As its owner would by hand."""

        async def work() -> None:
            self.spaces[space_id].pause()

        self._thread.run(work())

    def leave(self, job_id: str) -> None:
        """The main process of a Job ends well, where nothing really runs in boxes."""

        async def work() -> None:
            self.jobs[job_id].leave()
            await self.jobs[job_id].settled()

        self._thread.run(work())

    def visit(self, space_id: str) -> bool:
        """A visitor opens the app of a Space."""

        async def work() -> bool:
            return self.spaces[space_id].visit()

        return self._thread.run(work())

    def app_prints(self, space_id: str, line: str) -> None:
        """The app of a Space writes a line to its run log."""

        async def work() -> None:
            self.spaces[space_id].run_log.write(line)

        self._thread.run(work())

    def cut_ssh(self, user: str) -> None:
        """Cut the SSH connections of one box; it keeps running."""

        async def work() -> None:
            self.gateway.disconnect(user)

        self._thread.run(work())

    async def _start(self) -> None:
        app = web.Application(client_max_size=LARGEST_REQUEST)
        for route in ROUTES:
            app.router.add_route(route.method, route.path, guarded(self.hub, route))
            if route.name == "resolve":
                app.router.add_route("HEAD", route.path, guarded(self.hub, route))

        async def unknown(request: web.Request) -> web.Response:
            return await unexpected(self.hub, request)

        async def date(_: web.Request, response: web.StreamResponse) -> None:
            response.headers["Date"] = formatdate(self.hub.clock.now(), usegmt=True)

        app.router.add_route("*", "/{rest:.*}", unknown)
        app.on_response_prepare.append(date)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._ports[0])
        await site.start()
        self.hub.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.gateway = Gateway(self.hub.login, lambda user: self.account.ssh_keys, self._host_key())
        await self.gateway.start(port=self._ports[1])
        self.hub.gateway_address = f"127.0.0.1:{self.gateway.port}"
        self.hub.disconnect = self.gateway.disconnect

    async def _stop(self) -> None:
        for space in list(self.spaces.values()):
            space.delete()
        for job in list(self.jobs.values()):
            if not job.over:
                job.cancel()
            await job.settled()
        await self.gateway.close()
        await self._runner.cleanup()

    def _host_key(self) -> asyncssh.SSHKey:
        """One host key per state folder, so that a restarted emulator is the same machine."""
        path = self.state_dir / "gateway_host_key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
        return asyncssh.read_private_key(path)

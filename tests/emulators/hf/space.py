"""One Space: its stages, its container, its bill.

What the public documentation leaves open is decided for the worse case here,
so that devbox is not tested against a kinder Hub than the real one: every
commit rebuilds, Dev Mode or not; a changed secret, variable or volume restarts
a running Space; each of these takes the ephemeral disk with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.emulators.common import Box, FaultKind, Timer
from tests.emulators.gateway import Login, Refused
from tests.emulators.hf.hardware import Flavor
from tests.emulators.hf.logs import Log
from tests.emulators.hf.repos import Repo

if TYPE_CHECKING:
    from tests.emulators.hf.hub import Hub

FREE = "cpu-basic"
FREE_SLEEP_SECONDS = 48 * 3600
"""Free hardware always sleeps after this long without a visitor."""

HEARTBEAT = 30.0
"""Seconds between the lines that devbox's own image prints; of a box in which nothing really runs
the last one is written at its end."""
NO_CAPACITY = "Scheduling failure: not enough hardware capacity"
"""What public reports of users quote from the page of a Space that got no machine."""

BILLED = {"APP_STARTING", "RUNNING", "RUNNING_BUILDING", "RUNNING_APP_STARTING"}
BROKEN = {"NO_APP_FILE", "CONFIG_ERROR", "BUILD_ERROR", "RUNTIME_ERROR"}


@dataclass
class Setting:
    """A secret or a variable."""

    value: str
    description: str | None
    updated: float


@dataclass(frozen=True)
class Container:
    """One boot of a Space: a box with the environment and the mode it started with."""

    box: Box
    environment: dict[str, str]
    dev_mode: bool
    booted: float


@dataclass
class Space:
    """State of one Space. Everything here runs on the emulator's loop."""

    hub: Hub
    repo: Repo
    sdk: str
    requested: str = FREE
    sleep_seconds: int | None = None
    secrets: dict[str, Setting] = field(default_factory=dict)
    variables: dict[str, Setting] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    dev_mode: bool = False
    stage: str = "NO_APP_FILE"
    current: str | None = None
    error: str | None = None
    container: Container | None = None
    history: list[tuple[float, str]] = field(default_factory=list)
    last_visit: float = 0.0
    _image: tuple[str, bool] | None = None
    _timers: list[Timer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.build_log = Log(self.hub.clock)
        self.run_log = Log(self.hub.clock)
        self._show(self._problem() or "RUNNING")  # nothing but a static Space needs no file

    @property
    def id(self) -> str:
        return self.repo.id

    @property
    def subdomain(self) -> str:
        """The user name at the SSH gateway, and the host name of the app."""
        return re.sub(r"[^a-z0-9]+", "-", self.repo.id.lower()).strip("-")

    @property
    def flavor(self) -> Flavor:
        """What it runs on, or will."""
        return self.hub.flavors["spaces"][self.current or self.requested]

    @property
    def asleep(self) -> bool:
        return self.stage == "STOPPED"

    # What the Hub's routes do ------------------------------------------------

    def pushed(self) -> None:
        """New commit: build and replace, keeping the old container up meanwhile."""
        if self.stage not in ("PAUSED", "STOPPED"):
            self._begin("commit", keep=True)

    def request_hardware(self, flavor: str) -> None:
        """Move to other hardware: a new machine, so the disk starts empty."""
        self.requested = flavor
        if self.stage in BILLED and self.current != flavor:
            self._begin("request_hardware")

    def set_dev_mode(self, enabled: bool) -> None:
        """Switch Dev Mode; a Space that is up or on its way restarts with another image."""
        changed, self.dev_mode = self.dev_mode != enabled, enabled
        if changed and (self.stage in BILLED or self.stage == "BUILDING"):
            self._begin("dev_mode", keep=True)

    def pause(self) -> None:
        """Stop the container and the bill until someone restarts."""
        self._halt("PAUSED")

    def restart(self, *, factory: bool = False) -> None:
        """Boot again, from paused, asleep, broken or running; ``factory`` builds again."""
        if factory:
            self._image = None
        self._begin("restart")

    def settings_changed(self) -> None:
        """Secrets, variables and volumes reach a running Space by restarting it."""
        if self.stage in BILLED:
            self._begin("settings")

    def visit(self) -> bool:
        """An HTTP request to the app: counts against sleep, wakes it. True when it is up."""
        self.last_visit = self.hub.clock.now()
        if self.asleep:
            self._begin("visit")
        return self.container is not None

    def rearm_sleep(self) -> None:
        """Set the moment of sleep after the sleep time or the last visit changed."""
        self._at(self.last_visit + (self.sleep_time or 0), self._sleep_if_idle)

    def delete(self) -> None:
        """The Space is gone, its processes and its directory too."""
        self._halt("DELETING")

    @property
    def sleep_time(self) -> int | None:
        """Seconds without a visitor until sleep; ``None`` or -1 means never."""
        if (self.current or self.requested) == FREE:
            return FREE_SLEEP_SECONDS
        return self.sleep_seconds

    def runtime(self) -> dict[str, Any]:
        """The Hub's runtime answer."""
        answer: dict[str, Any] = {
            "stage": self.stage,
            "hardware": {"current": self.current, "requested": self.requested},
            "gcTimeout": self.sleep_time,
            "storage": None,
            "devMode": self.dev_mode,
            "volumes": self.volumes or None,
            "replicas": {"current": 1 if self.container else 0, "requested": 1},
            "sha": self.repo.head.oid,
            "domains": [{"domain": f"{self.subdomain}.hf.space", "stage": "READY"}],
        }
        if self.error is not None:
            answer["errorMessage"] = self.error
        return answer

    def login(self) -> Login | Refused:
        """Where the SSH gateway leads."""
        container = self.container
        if container is None:
            return Refused(f"The Space {self.id} is not running (stage {self.stage})")
        if not container.dev_mode:
            return Refused(f"Dev Mode is not enabled on the Space {self.id}")
        return Login(container.box, container.environment, lambda: self.container is container)

    # Stages ------------------------------------------------------------------

    def _begin(self, cause: str, *, keep: bool = False) -> None:
        """Build if the image is stale, then start. ``keep`` leaves the old container up."""
        self._cancel_timers()
        if not keep:
            self._stop_container()
        problem = self._problem()
        if problem is not None:
            self._fail(problem, f"{problem}: see the README metadata and the app file")
        elif self._image == (self.repo.head.oid, self.dev_mode):
            self._start()
        else:
            self._build(cause)

    def _build(self, cause: str) -> None:
        fault = self.hub.knobs.take(cause, FaultKind.BUILD_ERROR) or self.hub.knobs.take(
            "build", FaultKind.BUILD_ERROR
        )
        broken = list(fault.lines) if fault else _broken_step(self._dockerfile())
        self.build_log.close()
        self.build_log = Log(self.hub.clock)
        self._show("RUNNING_BUILDING" if self.container else "BUILDING")
        began, length = self.hub.clock.now(), self.hub.times.build
        lines = list(_build_lines(self._dockerfile()))
        for index, line in enumerate(lines):
            self._at(
                began + length * index / len(lines), lambda line=line: self.build_log.write(line)
            )
        image = (self.repo.head.oid, self.dev_mode)
        self._at(began + length, lambda: self._built(image, broken))

    def _built(self, image: tuple[str, bool], broken: list[str]) -> None:
        for line in broken or ["--> DONE", f"Pushing image {image[0][:12]}", "DONE"]:
            self.build_log.write(line)
        self.build_log.close()
        if broken:
            self._fail("BUILD_ERROR", "Job failed with exit code: 1. Reason: cache miss")
            return
        self._image = image
        self._start()

    def _start(self) -> None:
        if self.container is None:
            self.current = None if self.requested in self.hub.full else self.requested
        self._show("RUNNING_APP_STARTING" if self.container else "APP_STARTING")
        self._at(self.hub.clock.now() + self.hub.times.start, self._run)

    def _run(self, *, late: bool = False) -> None:
        if self.requested in self.hub.full:
            if late:
                self._fail("RUNTIME_ERROR", NO_CAPACITY)
                return
            due = self.hub.clock.now() + self.hub.times.gives_up
            self._at(due, lambda: self._run(late=True))
            return
        self._stop_container()
        self.current = self.requested
        self.run_log = Log(self.hub.clock)
        self.run_log.write(f"===== Application Startup at {self.hub.stamp_line()} =====")
        if re.search(r"^CMD .*\bfalse\b", self._dockerfile(), re.MULTILINE):
            self.run_log.write("Exit code: 1")
            self._fail("RUNTIME_ERROR", "Exit code: 1. Reason: ")
            return
        self.container = self._boot()
        self.last_visit = self.hub.clock.now()
        self._show("RUNNING")
        self.rearm_sleep()
        self.hub.on_boot(self.id)

    def _boot(self) -> Container:
        box = Box(self.hub.state_dir / "boxes" / self.subdomain, hollow=self.hub.hollow)
        box.wipe()
        self.repo.check_out(box.root / "app")
        self.hub.mount(box, self.volumes)
        return Container(box, self._environment(), self.dev_mode, self.hub.clock.now())

    def _environment(self) -> dict[str, str]:
        namespace, name = self.id.split("/")
        flavor = self.flavor
        settings = {**self.variables, **self.secrets}
        return {
            "HF_ENDPOINT": self.hub.endpoint,
            "SYSTEM": "spaces",
            "SPACE_ID": self.id,
            "SPACE_AUTHOR_NAME": namespace,
            "SPACE_REPO_NAME": name,
            "SPACE_TITLE": str(self.repo.card().get("title", name)),
            "SPACE_HOST": f"{self.subdomain}.hf.space",
            "SPACE_CREATOR_USER_ID": self.hub.account.user_id,
            "CPU_CORES": str(flavor.cpu),
            "MEMORY": f"{flavor.ram}Gi",
            "ACCELERATOR": flavor.gpu[0].lower() if flavor.gpu else "none",
            **{key: setting.value for key, setting in settings.items()},
        }

    def _sleep_if_idle(self) -> None:
        idle = self.hub.clock.now() - self.last_visit
        limit = self.sleep_time
        if self.stage == "RUNNING" and limit is not None and 0 < limit <= idle:
            self._halt("STOPPED")
        elif self.stage == "RUNNING" and limit is not None and limit > 0:
            self.rearm_sleep()

    def _halt(self, stage: str) -> None:
        self._cancel_timers()
        self._stop_container()
        self.build_log.close()
        self.current = None
        self._show(stage)

    def _fail(self, stage: str, message: str) -> None:
        self._halt(stage)
        self.error = message

    def _show(self, stage: str) -> None:
        """Take on a stage, and let the meter follow it."""
        self.stage = stage
        self.error = None
        self.history.append((self.hub.clock.now(), stage))
        if stage in BILLED:
            self.hub.meter.start(self.id, self.flavor.micro_usd_per_second, self.flavor.name)
        else:
            self.hub.meter.stop(self.id)

    def _stop_container(self) -> None:
        container, self.container = self.container, None
        if container is not None and self.hub.hollow:
            lived = self.hub.clock.now() - container.booted
            last = container.booted + lived // HEARTBEAT * HEARTBEAT
            self.run_log.write("devbox: page is served", at=last)
        self.run_log.close()
        if container is not None:
            self.hub.disconnect(self.subdomain)
            container.box.remove()

    def _problem(self) -> str | None:
        if self.repo.card().get("sdk") not in ("docker", "gradio", "streamlit", "static"):
            return "CONFIG_ERROR"
        app = "Dockerfile" if self.sdk == "docker" else "app.py"
        return None if self.sdk == "static" or app in self.repo.files else "NO_APP_FILE"

    def _dockerfile(self) -> str:
        found = self.repo.files.get("Dockerfile")
        return found.content.decode(errors="replace") if found else ""

    def _at(self, when: float, act: Any) -> None:
        self._timers.append(self.hub.clock.call_at(when, act))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def _build_lines(dockerfile: str) -> Iterator[str]:
    yield "===== Build Queued ====="
    for step in dockerfile.splitlines():
        if step.strip() and not step.lstrip().startswith("#"):
            yield f"--> {step.strip()}"


def _broken_step(dockerfile: str) -> list[str]:
    """The end of the log when a step of the build fails (a line ``RUN false``)."""
    if not re.search(r"^RUN false\s*$", dockerfile, re.MULTILINE):
        return []
    return [
        '--> ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1',
    ]

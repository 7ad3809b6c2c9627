"""The Hub's state: account, repositories, Spaces, Jobs, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.emulators.common import Box, Calls, Clock, Knobs, Meter
from tests.emulators.gateway import Login, Refused
from tests.emulators.hf.account import Account
from tests.emulators.hf.hardware import JOBS, SPACES, Flavor
from tests.emulators.hf.http import HubError
from tests.emulators.hf.job import Job
from tests.emulators.hf.limits import RateLimit
from tests.emulators.hf.logs import stamp
from tests.emulators.hf.repos import GITATTRIBUTES, File, Repo, first_readme
from tests.emulators.hf.space import Setting, Space


@dataclass(frozen=True)
class Times:
    """How long stages take, in emulator seconds. gives_up: after that a Space that has no machine
    fails; a Job waits on."""

    build: float = 0.2
    start: float = 0.1
    schedule: float = 0.1
    gives_up: float = 0.2


@dataclass
class Hub:
    """All state of one emulated Hub. Only the emulator's loop changes it."""

    clock: Clock
    times: Times
    account: Account
    state_dir: Path
    knobs: Knobs = field(default_factory=Knobs)
    calls: Calls = field(default_factory=Calls)
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    endpoint: str = ""
    gateway_address: str = ""
    disconnect: Callable[[str], None] = lambda user: None
    page_size: int = 100
    billing_labels: bool = True
    other_charges: list[dict[str, Any]] = field(default_factory=list)
    rate_limit: RateLimit | None = None
    hollow: bool = False
    """Knob: nothing runs in boxes. A Job lives until it is left, cancelled or timed out."""
    on_boot: Callable[[str], None] = lambda handle: None
    """Knob: called with the id of each Space and Job that begins to run."""
    flavors: dict[str, dict[str, Flavor]] = field(
        default_factory=lambda: {"spaces": dict(SPACES), "jobs": dict(JOBS)}
    )
    full: set[str] = field(default_factory=set)
    """Knob: flavors of which no machine is free."""

    def __post_init__(self) -> None:
        self.meter = Meter(self.clock, unit=60)

    # Repositories ------------------------------------------------------------

    def create_repo(self, kind: str, repo_id: str, private: bool) -> Repo:
        """A new repository with its first commit."""
        repo = Repo(kind, repo_id, private, self.clock.now())
        repo.commit("initial commit", repo.created, {".gitattributes": File(GITATTRIBUTES)})
        self.repos[kind, repo_id] = repo
        return repo

    def create_space(self, repo_id: str, private: bool, body: dict[str, Any]) -> Space:
        """A new Space from a ``repos/create`` body; it builds once an app file is pushed."""
        sdk = body.get("sdk", "")
        if sdk not in ("docker", "gradio", "streamlit", "static"):
            raise HubError(400, f"Invalid sdk {sdk}")
        if sdk != "static" and not self.account.pro:
            raise HubError(402, f"Creating a {sdk} Space requires a PRO subscription")
        flavor = body.get("hardware", "cpu-basic")
        self.check_flavor(flavor)
        repo = self.create_repo("space", repo_id, private)
        readme = File(first_readme(repo_id.split("/")[1], sdk))
        repo.commit("initial commit", repo.created, {**repo.files, "README.md": readme})
        self.spaces[repo_id] = Space(
            self,
            repo,
            sdk,
            requested=flavor,
            sleep_seconds=body.get("sleepTimeSeconds"),
            secrets=self._settings(body.get("secrets")),
            variables=self._settings(body.get("variables")),
            volumes=body.get("volumes") or [],
        )
        return self.spaces[repo_id]

    def find_repo(self, kind: str, repo_id: str) -> Repo:
        repo = self.repos.get((kind, repo_id))
        if repo is None:
            raise HubError(404, "Repository not found", "RepoNotFound")
        return repo

    def delete_repo(self, kind: str, repo_id: str) -> None:
        if kind == "space":
            self.spaces.pop(repo_id).delete()
        del self.repos[kind, repo_id]

    def move_repo(self, kind: str, source: str, target: str) -> None:
        """Rename; a Space's bill continues under the new name."""
        repo = self.repos.pop((kind, source))
        repo.id = target
        self.repos[kind, target] = repo
        if kind == "space":
            space = self.spaces.pop(source)
            self.spaces[target] = space
            self.meter.rename(source, target)

    def pushed(self, repo: Repo) -> None:
        """After a commit: a Space takes on its new content."""
        if repo.kind == "space":
            space = self.spaces[repo.id]
            space.sdk = str(repo.card().get("sdk", space.sdk))
            space.pushed()

    def repo_url(self, kind: str, repo_id: str) -> str:
        prefix = "" if kind == "model" else f"{kind}s/"
        return f"{self.endpoint}/{prefix}{repo_id}"

    def describe(
        self,
        repo: Repo,
        *,
        blobs: bool = False,
        full: bool = True,
        expand: list[str] | None = None,
        revision: str = "main",
    ) -> dict[str, Any]:
        """The info of a repository; ``expand`` narrows it to those properties."""
        info = repo.info(blobs=blobs, revision=revision)
        if repo.kind == "space":
            space = self.spaces[repo.id]
            info |= {
                "sdk": space.sdk,
                "subdomain": space.subdomain,
                "host": f"{self.endpoint}/_app/{space.subdomain}",
                "runtime": space.runtime(),
                "tags": [space.sdk, *info["tags"]],
            }
        if expand:
            return {"_id": info["_id"], "id": info["id"], **{k: info.get(k) for k in expand}}
        if not full:
            for key in ("siblings", "cardData", "runtime", "host", "subdomain"):
                info.pop(key, None)
        return info

    # What Spaces and Jobs share ----------------------------------------------

    def check_flavor(self, flavor: object) -> None:
        """Refuse unknown hardware (400), and paid hardware without a way to pay (402)."""
        if not isinstance(flavor, str) or flavor not in self.flavors["spaces"]:
            raise HubError(400, f"Invalid hardware flavor {flavor}")
        if self.flavors["spaces"][flavor].usd_per_hour > 0 and not self.account.can_pay:
            raise HubError(402, "Payment required: add a payment method to your account")

    def space_by_subdomain(self, subdomain: str) -> Space | None:
        return next((s for s in self.spaces.values() if s.subdomain == subdomain), None)

    def login(self, user: str) -> Login | Refused:
        """The gateway's question: which box is ``user``?"""
        if user in self.jobs:
            return self.jobs[user].login()
        space = self.space_by_subdomain(user)
        return space.login() if space is not None else Refused(f"Nothing is called {user}")

    def mount(self, box: Box, volumes: list[dict[str, Any]]) -> None:
        """Volumes as links below the box's home, at their mount paths; buckets persist."""
        for volume in volumes:
            kind, source = str(volume["type"]), str(volume["source"])
            kept = self.state_dir / "volumes" / f"{kind}s" / source
            kept.mkdir(parents=True, exist_ok=True)
            if (kind, source) in self.repos:
                self.repos[kind, source].check_out(kept)
            place = box.root / str(volume["mountPath"]).strip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(kept / str(volume.get("path") or ""))

    def page(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        """One page of a listing, with a ``Link`` to the next."""
        limit = min(int(request.query.get("limit", self.page_size)), self.page_size)
        start = int(request.query.get("cursor", 0))
        headers = {}
        if start + limit < len(items):
            following = request.rel_url.update_query(cursor=str(start + limit))
            headers["Link"] = f'<{self.endpoint}{following}>; rel="next"'
        return web.json_response(items[start : start + limit], headers=headers)

    def stamp(self, moment: float) -> str:
        return stamp(moment)

    def stamp_line(self) -> str:
        """The present as the Hub writes it into logs."""
        return stamp(self.clock.now())[:19].replace("T", " ")

    def _settings(self, given: list[dict[str, str]] | None) -> dict[str, Setting]:
        return {
            each["key"]: Setting(each["value"], each.get("description"), self.clock.now())
            for each in given or []
        }

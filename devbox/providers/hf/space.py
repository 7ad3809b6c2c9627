"""Boxes on Hugging Face Spaces, in Dev Mode. The handle is the Space's "namespace/name"."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from devbox.errors import DevboxError, Gone, ProviderError
from devbox.images import build_progress, templates
from devbox.providers.abilities import (
    CanPause,
    CanResize,
    CanRestart,
    HasBuildLogs,
    HasRunLogs,
)
from devbox.providers.base import Finding, Kept, Observation, Provider, Request
from devbox.providers.hf import account, billing_period, errors, hardware, stages, tags
from devbox.providers.hf.hardware import has_gpu
from devbox.providers.hf.hub import ANSWER, Hub, repo_id, resolve
from devbox.providers.hf.image import DOCKERFILE
from devbox.providers.hf.local_records import LocalRecords
from devbox.providers.hf.repository import content
from devbox.providers.hf.space_create import SpaceCreator, pause_url
from devbox.providers.hf.space_observe import Look
from devbox.spec import BoxSpec, HfSettings
from devbox.text import clean
from devbox.wire.codec import JsonObject
from devbox.wire.messages import PauseRecipe

_WORKERS = 8


__all__ = ["HfSpace", "make", "resolve"]


def make(config: HfSettings) -> Provider:
    """Spaces of [providers.hf]: endpoint, namespace, ssh_gateway, pause_token."""
    return HfSpace(config)


class HfSpace(
    account.HubProvider,
    CanPause,
    CanRestart,
    CanResize,
    HasBuildLogs,
    HasRunLogs,
):
    """A private Docker Space per box, or one that the user has (`space = "me/name"`).

    clock: () → unix seconds.
    """

    name = "hf-space"
    product = "spaces"
    resume_takes = frozenset({"hardware", "image", "build_args", "env", "secrets"})
    # As of hf-job; but a Space is looked up by its name, which does not lag.
    find_lag = 45.0
    create_lag = ANSWER + 15.0
    go_back = "log in to the Hub as {}: devbox login hf-space --again"
    dev_mode = True

    def __init__(self, config: HfSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._hub = Hub(config, clock)
        self._pause_token = config.pause_token
        self._clock = clock
        self._rates = hardware.Rates(self._hub, self.product, self.name, clock)
        self._notebook = LocalRecords(self._hub.endpoint)
        self._look = Look(self._hub, self._rates, self._notebook, config.ssh_gateway, clock)
        self._maker = SpaceCreator(self._hub, self._notebook, self._look, config.pause_token, clock)

        self.workdir = tags.code_folder()

    def default_image(self, hardware: str) -> str:
        return templates.CUDA if has_gpu(hardware) else templates.PLAIN

    def create(self, request: Request) -> str:
        """Make the Space, or adopt or join one, and bring it to where it starts by itself.

        One of this box name that another computer made is joined: its handle is returned, and
        `observe` tells its token. Conflict when the name is taken by a Space that is not ours.
        """
        return self._maker.create(request)

    def observe(self, handle: str) -> Observation | None:
        return self._look.at(repo_id(handle))

    def find(self, token: str | None = None) -> list[Observation]:
        """A token is looked up directly where its box name or our notes say, as listings lag."""
        namespace = self._hub.namespace()
        if token is not None:
            for handle in self._candidates(namespace, token):
                seen = self._look.at(handle)
                if seen is not None and seen.token == token:
                    return [seen]
        rows = [row for row in self._look.listing(namespace) if _may_be_ours(row)]
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = [seen for seen in pool.map(self._look.row, rows) if seen is not None]
        return [seen for seen in found if token in (None, seen.token)]

    def pause_keeps(self, wanted: BoxSpec) -> Kept:
        """A Space's disk is made again from its image at each start; volumes are mounted again.
        Source: the Hub's documentation of Spaces, "Disk usage on Spaces"."""
        kept = [f"{volume.mount} ({volume.source})" for volume in wanted.volumes.values()]
        return Kept(False, f"only its volumes: {', '.join(kept)}" if kept else "none of its files")

    def end_means(self, wanted: BoxSpec) -> str:
        if wanted.space:
            return "pause its Space, which stays yours; what is on its disk is deleted"
        return super().end_means(wanted)

    def terminate(self, handle: str) -> None:
        """Delete the Space. One that was adopted is the user's: it is paused and let go."""
        handle = repo_id(handle)
        notes = self._notebook.read(handle)
        try:
            tag = self._look.tag(handle)
            if tag is None and not notes.ending:
                return
            billing_period.follow_clock(self._hub, notes)
            notes.ending, notes.asked_stop = True, self._clock()
            notes.adopted = notes.adopted or (tag is not None and tag.adopted)
            if tag is not None:
                notes.token, notes.name = tag.token, tag.name
            self._notebook.write(handle, notes)
            if notes.adopted:
                self._pause(handle)
            else:
                self._hub.call(
                    f"deleting {handle}", lambda api: api.delete_repo(handle, repo_type="space")
                )
        except Gone:
            self._hub.confirm_gone(handle)

    def pause(self, handle: str) -> str:
        handle = repo_id(handle)
        notes = self._notebook.read(handle)
        billing_period.follow_clock(self._hub, notes)
        if notes.asked_stop is not None and self._look.runtime(handle).stage == "PAUSED":
            return handle  # by an earlier call, whose reply was lost: it ended then, and not now
        notes.asked_stop = self._clock()
        self._notebook.write(handle, notes)
        try:
            self._pause(handle)
        except Gone:
            self._hub.confirm_gone(handle)
            raise
        return handle

    def resume(self, request: Request, handle: str) -> str:
        return self._maker.resume(request, repo_id(handle))

    def restart(self, handle: str, *, factory: bool) -> None:
        handle = repo_id(handle)
        self._hub.call(
            f"restarting {handle}",
            lambda api: api.restart_space(handle, factory_reboot=factory),
        )

    def resize(self, handle: str, hardware: str) -> None:
        handle = repo_id(handle)
        try:
            tag = self._look.tag(handle)
        except Gone:
            self._hub.confirm_gone(handle)
            raise
        if tag is None:
            raise Gone(f"{handle} is not a devbox any more", fix="see: devbox ls --refresh")
        # The tag follows what was granted: a refusal leaves it, and the Space, as they were.
        self._maker.hardware(handle, hardware, tag.ceiling)
        self._maker.remember_hardware(handle, tag.hardware, hardware)

    def build_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        return self._logs(repo_id(handle), build=True, follow=follow)

    def build_steps(self, handle: str) -> int | None:
        """Its builder numbers no steps; they are those of its Dockerfile."""
        try:
            dockerfile = content(self._hub, repo_id(handle), DOCKERFILE)
        except DevboxError:
            return None  # why: without a Dockerfile, or unreadable, steps are only counted
        return build_progress.count(dockerfile.decode(errors="replace"))

    def run_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        return self._logs(repo_id(handle), build=False, follow=follow)

    def own_guards(self, hardware: str) -> list[str]:
        return stages.guards(hardware)

    def can_arm(self, handle: str) -> bool:
        return bool(self._pause_token)

    def arm_help(self, handle: str) -> str:
        return account.PAUSE_TOKEN_FIX

    def wakes(self, stage: str) -> str:
        return stages.wakes(stage)

    def lacks_hardware(self, stage: str, message: str) -> bool:
        return stages.waits_for_hardware(stage) or errors.lacks_hardware(message)

    def watchdog(self, handle: str) -> PauseRecipe | None:
        """None without `[providers.hf] pause_token`: the box then has nothing to pause itself
        with, and must not have the user's own token."""
        if not self._pause_token:
            return None
        return PauseRecipe(
            "http",
            url=pause_url(self._hub, repo_id(handle)),
            token_env=tags.PAUSE_TOKEN,
            armed=tags.ARMED,
        )

    def login_help(self, handle: str) -> str:
        return account.login_help(self._hub, "Dev Mode needs PRO or a Team plan")

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        return account.checks(self._hub, dev_mode=True) + account.pause_token(self._pause_token)

    def _pause(self, handle: str) -> None:
        try:
            said = self._hub.call(f"pausing {handle}", lambda api: api.pause_space(handle))
        except ProviderError as error:
            # Refused for a reason of its state: fine when that state costs nothing.
            if type(error) is not ProviderError or self._look.runtime(handle).billed:
                raise
            return
        if not stages.runtime(said.raw).billed:
            notes = self._notebook.read(handle)
            if notes.asked_stop is not None:
                notes.asked_stop = self._clock()
                self._notebook.write(handle, notes)

    def _candidates(self, namespace: str, token: str) -> list[str]:
        box = token.rpartition("-")[0]
        named = [f"{namespace}/{tags.space_name(box)}"] if box else []
        return [h for h in dict.fromkeys([*named, *self._notebook.handles(token)]) if _is_id(h)]

    def _logs(self, handle: str, *, build: bool, follow: bool) -> Iterator[str]:
        with errors.translated(f"reading the log of {handle}"):
            yield from self._hub.call(
                f"reading the log of {handle}",
                lambda api: (
                    clean(part, 4000)
                    for line in api.fetch_space_logs(handle, build=build, follow=follow)
                    for part in line.rstrip("\r\n").split("\r")
                ),
            )


def _may_be_ours(row: JsonObject) -> bool:
    """Named or tagged as ours, or in Dev Mode, as an adopted one is: worth reading its tag."""
    listed = row.get("tags")
    return (
        str(row["id"]).partition("/")[2].startswith(tags.PREFIX)
        or (isinstance(listed, list) and "devbox" in listed)
        or stages.runtime(row.get("runtime")).dev_mode
    )


def _is_id(handle: str) -> bool:
    try:
        return bool(repo_id(handle))
    except ProviderError:
        return False

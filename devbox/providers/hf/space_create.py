"""Bringing a Space to where it starts by itself. Every step looks first and may be repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from devbox import secrets
from devbox.errors import Conflict, Gone, ProviderError, UsageError
from devbox.providers import guarded
from devbox.providers.base import Request
from devbox.providers.hf import billing_period, hardware, stages, tags, upload, volumes
from devbox.providers.hf.hub import Hub, repo_id
from devbox.providers.hf.local_records import LocalRecords, Notes
from devbox.providers.hf.space_observe import Look
from devbox.providers.hf.stages import Runtime
from devbox.text import clean

if TYPE_CHECKING:
    from huggingface_hub import SpaceHardware

#: seconds after which a Space that never got its code was given up by who made it
_ABANDONED = 300.0


class SpaceCreator:
    """Creates, adopts and resumes Spaces. pause_token: the reference of [providers.hf]."""

    def __init__(
        self,
        hub: Hub,
        notebook: LocalRecords,
        look: Look,
        pause_token: str,
        clock: Callable[[], float],
    ) -> None:
        self._hub, self._notebook, self._look = hub, notebook, look
        self._pause_token, self._clock = pause_token, clock

    def create(self, request: Request) -> str:
        """See HfSpace.create. Nothing billed runs before the code is there: a Space is born on
        free hardware, and other hardware is asked for last."""
        check(request)
        handle = repo_id(
            request.spec.space or f"{self._hub.namespace()}/{tags.space_name(request.name)}"
        )
        upload.wanted(request.name, request.spec, request.root, adopted=False)
        if self._made(handle, request):
            self._complete(handle, request, request.hardware, adopted=False, fresh=True)
            return handle
        tag = self._look.tag(handle)
        if tag is None:
            self._adopt(handle, request)
        elif tag.token != request.token and not self._abandoned(handle):
            return handle
        adopted = tag is None or tag.adopted
        # What it was to run on: a create that was cut off leaves it on free hardware, and that
        # must not become the wish.
        wanted = (tag.hardware if tag else "") or request.hardware
        self._complete(handle, request, wanted, adopted=adopted, fresh=False)
        return handle

    def resume(self, request: Request, handle: str) -> str:
        """Settings, image and hardware as the spec has them now, then the start."""
        try:
            runtime = self._look.runtime(handle)
            if runtime.billed or runtime.stage in ("BUILDING", "NO_APP_FILE"):
                return handle
            tag = self._look.tag(handle)
        except Gone:
            self._hub.confirm_gone(handle)
            raise
        if tag is None:
            raise Gone(f"{handle} is not a devbox any more", fix="see: devbox ls --refresh")
        check(request)
        self._settings(handle, request, rotate=True)
        self._volumes(handle, request, runtime)
        files = upload.wanted(request.name, request.spec, request.root, adopted=tag.adopted)
        if upload.dockerfile_differs(self._hub, handle, files):
            upload.push(self._hub, handle, files, prune=not tag.adopted)
        self._dev_mode(handle, runtime)
        self.hardware(handle, request.hardware, ceiling(request), runtime)
        self.remember_hardware(handle, tag.hardware, request.hardware)
        self._start(handle)
        return handle

    def hardware(
        self, handle: str, wanted: str, seconds: int, runtime: Runtime | None = None
    ) -> None:
        """Ask for hardware with its sleep time, unless both are as wanted. Free hardware sleeps
        after 48 hours, which cannot be changed."""
        runtime = runtime or self._look.runtime(handle)
        if wanted and (runtime.requested or hardware.FREE) != wanted:
            sleep = seconds if seconds and wanted != hardware.FREE else None
            self._hub.call(
                f"asking for {wanted} for {handle}",
                lambda api: api.request_space_hardware(
                    handle, cast("SpaceHardware", wanted), sleep_time=sleep
                ),
            )
            notes = self._notebook.read(handle)
            billing_period.follow_clock(self._hub, notes)
            billing_period.moves(notes, runtime, wanted, self._clock())
            self._notebook.write(handle, notes)
        elif seconds and wanted not in ("", hardware.FREE) and runtime.sleep != seconds:
            self._hub.call(
                f"setting the sleep time of {handle}",
                lambda api: api.set_space_sleep_time(handle, seconds),
            )

    def _made(self, handle: str, request: Request) -> bool:
        """Create the Space with its tag, secrets and volumes at once. False when it exists."""
        try:
            self._look.info(handle)
            return False
        except Gone:
            notes = Notes(token=request.token, name=request.name, asked_start=self._clock())
            billing_period.follow_clock(self._hub, notes)
            self._notebook.write(handle, notes)
        try:
            self._hub.call(
                f"creating the Space {handle}",
                lambda api: api.create_repo(
                    handle,
                    repo_type="space",
                    space_sdk="docker",
                    private=True,
                    space_secrets=_pairs(self._secrets(request)),
                    space_variables=_pairs(
                        {
                            **self._guard(handle, request),
                            **variables(request, handle, adopted=False),
                        }
                    ),
                    space_volumes=volumes.of(request.spec) or None,
                ),
            )
        except Conflict:
            return False  # why: another process made it between our look and our call
        return True

    def _guard(self, handle: str, request: Request) -> dict[str, str]:
        """What its page needs to pause it (images/files/serve.py), where there is a token."""
        if not self._pause_token:
            return {}
        url = pause_url(self._hub, handle)
        return {tags.PAUSE_URL: url, tags.UNARMED: str(guarded.unarmed(request.spec))}

    def _adopt(self, handle: str, request: Request) -> None:
        if not request.spec.space:
            raise Conflict(
                f"the Space {handle} exists and was not made by devbox",
                means="nothing was changed",
                fix=f'use it with: space = "{handle}" in [boxes.{request.name}], '
                "or give the box another name",
            )
        notes = Notes(
            token=request.token, name=request.name, adopted=True, asked_start=self._clock()
        )
        billing_period.follow_clock(self._hub, notes)
        self._notebook.write(handle, notes)
        # What says whose tag this is comes last: a tag is whole, or it is none.
        wanted = variables(request, handle, adopted=True)
        for key in sorted(wanted, key=lambda key: key == tags.SPACE):
            self._set_variable(handle, key, wanted[key])

    def _abandoned(self, handle: str) -> bool:
        """Of another computer, which died before it sent any code."""
        said = self._look.info(handle)
        made = self._hub.times.moment(said.get("createdAt"))
        old = made is not None and self._clock() - made > _ABANDONED
        return old and stages.runtime(said.get("runtime")).stage == "NO_APP_FILE"

    def _complete(
        self, handle: str, request: Request, wanted: str, *, adopted: bool, fresh: bool
    ) -> None:
        runtime = self._look.runtime(handle)
        if not fresh:
            self._settings(handle, request, rotate=False)
            self._volumes(handle, request, runtime)
        # Before the code, so that the image is built once and not twice.
        runtime = self._dev_mode(handle, runtime, tolerant=True)
        files = upload.wanted(request.name, request.spec, request.root, adopted=adopted)
        pushed = upload.push(self._hub, handle, files, prune=not adopted)
        runtime = self._look.runtime(handle)
        self._dev_mode(handle, runtime)
        self.hardware(handle, wanted, ceiling(request), runtime)
        if runtime.broken and not pushed:
            self._start(handle)

    def _start(self, handle: str) -> None:
        notes = self._notebook.read(handle)
        billing_period.follow_clock(self._hub, notes)
        notes.asked_start, notes.asked_stop = self._clock(), None
        self._notebook.write(handle, notes)
        self._hub.call(f"starting {handle}", lambda api: api.restart_space(handle))

    def _dev_mode(self, handle: str, runtime: Runtime, *, tolerant: bool = False) -> Runtime:
        """tolerant: a refusal for the Space's state, with no code in it yet, is no error."""
        if runtime.dev_mode:
            return runtime
        try:
            said = self._hub.call(
                f"switching on Dev Mode of {handle}", lambda api: api.enable_space_dev_mode(handle)
            )
        except ProviderError as error:
            if tolerant and type(error) is ProviderError:
                return runtime
            raise
        return stages.runtime(said.raw)

    def _settings(self, handle: str, request: Request, *, rotate: bool) -> None:
        """Variables that differ, and secrets that are missing; all secrets with rotate, as their
        values cannot be read back. Each change restarts a Space that runs."""
        there = self._look.variables(handle)
        for key, value in variables(request, handle, adopted=False).items():
            entry = there.get(key)
            if key not in tags.OURS and not (
                isinstance(entry, Mapping) and entry.get("value") == value
            ):
                self._set_variable(handle, key, value)
        kept = self._hub.get(f"reading the secrets of {handle}", f"/api/spaces/{handle}/secrets")
        for key, value in self._secrets(request).items():
            if rotate or key not in kept:
                self._set_secret(handle, key, value)

    def _set_variable(self, handle: str, key: str, value: str) -> None:
        self._hub.call(
            f"setting the variable {key} of {handle}",
            lambda api: api.add_space_variable(handle, key, value),
        )

    def remember_hardware(self, handle: str, known: str, wanted: str) -> None:
        """Write down in the tag, which says `known`, what it is to run on."""
        if known == wanted:
            return
        self._set_variable(handle, tags.HARDWARE, wanted)
        notes = self._notebook.read(handle)
        notes.hardware = wanted
        self._notebook.write(handle, notes)

    def _set_secret(self, handle: str, key: str, value: str) -> None:
        self._hub.call(
            f"setting the secret {key} of {handle}",
            lambda api: api.add_space_secret(handle, key, value),
        )

    def _volumes(self, handle: str, request: Request, runtime: Runtime) -> None:
        wanted = volumes.of(request.spec)
        if tuple(sorted(stages.volume_key(v.to_dict()) for v in wanted)) == runtime.volumes:
            return
        if wanted:
            self._hub.call(
                f"mounting the volumes of {handle}",
                lambda api: api.set_space_volumes(handle, wanted),
            )

    def _secrets(self, request: Request) -> dict[str, str]:
        own = {tags.PAUSE_TOKEN: secrets.resolve(self._pause_token)} if self._pause_token else {}
        return {**request.secrets, **own}


def check(request: Request) -> None:
    """Refuse what the Hub would refuse half-way. UsageError, before anything is made."""
    both = set(request.spec.env) & set(request.secrets)
    ours = {key for key in (*request.spec.env, *request.secrets) if key.startswith("DEVBOX_")}
    if both or ours:
        named = clean(", ".join(sorted(both | ours)), 200)
        raise UsageError(
            f"these names cannot be used on a Space: {named}",
            means="nothing was started",
            fix="a name is either in env or in secrets, and does not begin with DEVBOX_",
        )
    volumes.of(request.spec)


def pause_url(hub: Hub, handle: str) -> str:
    """Where a Space is paused."""
    return f"{hub.endpoint}/api/spaces/{handle}/pause"


def ceiling(request: Request) -> int:
    """max_uptime in whole seconds, as the Hub's timeouts are."""
    return max(1, math.ceil(request.spec.max_uptime))


def variables(request: Request, handle: str, *, adopted: bool) -> dict[str, str]:
    """The user's variables and our tag, which names its repository."""
    return {
        **request.spec.env,
        **({tags.ADOPTED: "1"} if adopted else {}),
        tags.NAME: request.name,
        **({tags.HARDWARE: request.hardware} if request.hardware else {}),
        tags.CEILING: str(ceiling(request)),
        tags.TOKEN: request.token,
        tags.SPACE: handle,
    }


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]] | None:
    return [{"key": key, "value": value} for key, value in values.items()] or None

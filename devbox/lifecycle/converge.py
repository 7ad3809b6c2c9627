"""The steps that lead to each goal. Every function may be called again after a crash."""

from __future__ import annotations

import msgspec

from devbox import secrets, spec
from devbox.errors import DevboxError, Gone, ProviderError, TimedOut, Unavailable
from devbox.lifecycle import watchdog_events
from devbox.lifecycle.asking import ask_for, asking_now, end_twins, find_handle, placed, seek
from devbox.lifecycle.guards import guards
from devbox.lifecycle.login import (
    extend_user_config,
    forget,
    host_key,
    host_key_file,
    log_in,
    login_file,
    publish,
)
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.observe import apply_observation, observe
from devbox.lifecycle.refusal import cost_line, costing, refusable
from devbox.lifecycle.settling import start_timeout, until_running, until_stopped
from devbox.lifecycle.steps import Journal, reload, set_state
from devbox.lifecycle.waiting import waiting
from devbox.model import Box, BoxState
from devbox.providers.base import CanPause, Provider, Request
from devbox.remote import keys
from devbox.remote.command import noise_in
from devbox.remote.connection import Connection
from devbox.spec import Seconds
from devbox.telemetry import arming, rearm
from devbox.text import clean, duration
from devbox.workspace import Workspace


def to_running(ws: Workspace, box: Box, journal: Journal, *, wait_for: bool = True) -> Box:
    """Create or resume, wait until it runs, make it reachable, arm its watchdog."""
    box, looked = _create_or_resume(ws, box, journal)
    if not wait_for:
        journal.step("accepted", lambda: None)  # its create is over: nobody calls it once more
        ws.narrate(f"{box.name}: accepted; finish with: devbox status {box.name} --wait")
        ws.narrate(f"{box.name}: {cost_line(ws, box)}")
        return box
    try:
        box = journal.step("observe", lambda: until_running(ws, box, looked=looked))
    except KeyboardInterrupt:
        withdraw(ws, box)
        raise
    except TimedOut as error:
        if withdraw(ws, box):
            error.means = (
                "it was taken back from the queue, so that it cannot start by itself; "
                + (cost_line(ws, box))
            )
        raise
    if spec.is_headless(box):
        if box.state.is_over:
            return finalize(ws, box, journal)
        journal.finish("running")
        return box
    unwritten = journal.step("ssh", lambda: publish(ws, box))
    connection = journal.step("login", lambda: log_in(ws, box))
    with connection:
        found = guards(ws, box)
        ws.narrate(f"{box.name}: {'; '.join(found.lines)}")
        if found.fix:
            ws.narrate(f"{box.name}: to have it pause itself: {found.fix}")
        journal.step("arm", lambda: rearm.arm(ws, box, connection))
        if noise := noise_in(connection.noise):
            ws.narrate(f"{box.name}: {noise}")
        _keep_again(ws, box, connection)
        if len(ws.store.ledger.of_box(box.id)) > 1:
            # What its watchdog did before a pause, as far as its files or volumes tell.
            for event in watchdog_events.import_events(ws, box, connection):
                if event.kind == watchdog_events.RESTORED:
                    ws.narrate(f"{box.name}: {event.message}")
    # Guarded from here on; what follows is for the comfort of this computer.
    journal.step("include", lambda: extend_user_config(ws, box))
    if unwritten:
        raise unwritten
    journal.finish("running")
    return reload(ws, box)


def withdraw(ws: Workspace, box: Box) -> bool:
    """Take a box back that waits for a machine and that nobody waits for any more, so that it
    cannot start, and cost, later: what Modal's own client does too. False for any other box. What
    it was resumed from is kept."""
    box = reload(ws, box)
    if not (ws.provider_of(box).queues and box.handle and box.state is BoxState.PROVISIONING):
        return False
    ws.narrate(f"{box.name}: nobody waits for its machine any more: taking it back from the queue")
    intent = ws.store.boxes.begin(box.id, "paused", {"withdrawn": True}, ws.clock())
    return not to_paused(ws, box, Journal(ws, intent)).state.is_over


def _keep_again(ws: Workspace, box: Box, connection: Connection) -> None:
    """A `devbox keep` that has not ended holds after a pause too."""
    if box.kept_until and box.kept_until > ws.clock() + 1:
        until = arming.keep(connection, box.kept_until)
        ws.narrate(f"{box.name}: kept awake for {duration(until - ws.clock())}, as before")


def to_paused(ws: Workspace, box: Box, journal: Journal) -> Box:
    """Ask the provider to pause and wait until it says so. Until then the box costs."""
    provider = require_can_pause(ws, box)
    if box.state not in (BoxState.PAUSED, BoxState.PAUSING):
        box = set_state(ws, box, BoxState.PAUSING)
    try:
        with costing(ws, box), waiting(ws, box, "being paused"):
            handle = provider.pause_by(journal.call, box.handle)
        box = set_state(ws, box, BoxState.PAUSING, handle=handle)
    except Gone:
        ws.narrate(f"{box.name}: the provider no longer knows it")
    box = journal.step(
        "confirm", lambda: until_stopped(ws, box, lambda b: b.state is not BoxState.PAUSING)
    )
    journal.step("forget", lambda: forget(ws, box))
    journal.finish(box.state)
    return box


def require_can_pause(ws: Workspace, box: Box) -> CanPause:
    """The box's provider. ProviderError when it can never pause this box."""
    provider = ws.provider_of(box)
    if not isinstance(provider, CanPause):
        raise ProviderError(
            f"boxes of provider {box.provider} cannot pause",
            means=f"{box.name} keeps running and costing",
            fix=f"end it with: devbox down {box.name}",
        )
    if box.handle:
        provider.check_pause(box.handle)
    return provider


def to_terminated(ws: Workspace, box: Box, journal: Journal) -> Box:
    """End the box at its provider and wait until it is gone."""
    box = set_state(ws, box, BoxState.STOPPING)
    provider = ws.provider_of(box)
    box = find_handle(ws, box)
    if not box.handle:
        box = journal.step("seek", lambda: seek(ws, box))
    if box.handle:
        with costing(ws, box), waiting(ws, box, "being ended"):
            journal.call("terminate", lambda: provider.terminate(box.handle))
        if box.unanswered is not None or provider.may_double:
            journal.step("twins", lambda: end_twins(ws, box))
        box = journal.step("confirm", lambda: until_stopped(ws, box, lambda b: b.state.is_over))
    else:
        box = apply_observation(ws, box, Answer(None, ws.clock()))
    return finalize(ws, box, journal)


def finalize(ws: Workspace, box: Box, journal: Journal) -> Box:
    """The last step for a box that is over: nothing of it stays in ssh."""
    journal.step("forget", lambda: forget(ws, box))
    host_key_file(box).unlink(missing_ok=True)
    login_file(box).unlink(missing_ok=True)
    journal.finish(box.state)
    return box


def _create_or_resume(ws: Workspace, box: Box, journal: Journal) -> tuple[Box, bool]:
    """Create, or join what another computer made under this name; resume when it is paused.
    Also whether the box was looked at after all that."""
    provider, looked = ws.provider_of(box), False
    if not box.handle or box.state is BoxState.FAILED or _half_made(ws, box):
        box = placed(ws, box)
        asked = request(ws, box)
        box = _create(ws, box, journal, asked)
        box, looked = observe(ws, box), True
        if box.token != asked.token:
            ws.narrate(f"{box.name}: joined the box that another computer made")
    if box.state is BoxState.PAUSED and isinstance(provider, CanPause):
        with refusable(ws, box, journal), waiting(ws, box, "being resumed"):
            box, looked = _resume(ws, box, journal, provider), False
    return box, looked


def _resume(ws: Workspace, box: Box, journal: Journal, provider: CanPause) -> Box:
    asked, handle = request(ws, box), box.handle
    return journal.call(
        "resume",
        lambda: ask_for(ws, box, lambda: provider.resume(asked, handle), BoxState.STARTING),
    )


def _create(ws: Workspace, box: Box, journal: Journal, asked: Request) -> Box:
    """The box with its handle. One that was refused shows as failed, with the reason, until `up`
    succeeds or `reconcile` has seen that there is nothing."""
    provider = ws.provider_of(box)
    try:
        with waiting(ws, box, "being asked for"):
            return journal.call(
                "create",
                lambda: ask_for(ws, box, lambda: provider.create(asked), BoxState.PROVISIONING),
            )
    except DevboxError as error:
        if not isinstance(error, Unavailable):
            set_state(ws, box, BoxState.FAILED, message=clean(error.what, 300))
        error.means = "; ".join(filter(None, (cost_line(ws, box), error.means)))
        raise


def _half_made(ws: Workspace, box: Box) -> bool:
    """Its create was begun and not seen to end: it may exist with steps missing, which create,
    called again, adds."""
    work = ws.store.boxes.open_intents(box.id)
    return any(intent.goal == "running" and intent.step == "create" for intent in work)


def request(ws: Workspace, box: Box) -> Request:
    """What a provider needs to make this box; its secrets are read now. StateDamaged when a
    part of its spec cannot be read: nothing is started by a guess."""
    spec.require_whole(box)
    wanted = with_image(ws.provider_of(box), spec.decode_box(box.spec), box.hardware)
    wanted = msgspec.structs.replace(wanted, start_timeout=Seconds(start_timeout(ws, box)))
    return Request(
        name=box.slug or box.name,
        token=box.token,
        spec=wanted,
        hardware=box.hardware,
        public_key=keys.ensure_identity(),
        host_key=host_key(box),
        secrets={name: secrets.resolve(reference) for name, reference in wanted.secrets.items()},
        root=box.root or str(ws.spec.root),
        asking=lambda: asking_now(ws, box),
    )


def with_image(provider: Provider, wanted: spec.BoxSpec, hardware: str) -> spec.BoxSpec:
    """The spec with its image, where it leaves that to its provider."""
    chosen = wanted.image or provider.default_image(hardware)
    return msgspec.structs.replace(wanted, image=chosen)

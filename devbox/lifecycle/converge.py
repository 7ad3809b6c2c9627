"""The steps that lead to each goal. Every function may be called again after a crash."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from devbox import paths, secrets, spec
from devbox.errors import (
    BuildFailed,
    DevboxError,
    Gone,
    KeyRefused,
    NoAnswer,
    ProviderError,
    SshError,
    TimedOut,
    Unavailable,
)
from devbox.files import private_dir, write_atomic
from devbox.lifecycle import absence, happenings
from devbox.lifecycle.absorb import absorb
from devbox.lifecycle.asking import ask_for, end_twins, find_handle, placed, seek
from devbox.lifecycle.building import BuildLog
from devbox.lifecycle.guards import guards
from devbox.lifecycle.steps import Journal, current, mark, retried
from devbox.lifecycle.waiting import Wait, waiting
from devbox.model import Box, BoxState
from devbox.money import exposure
from devbox.providers.base import CanAdmit, CanPause, Request
from devbox.spec import Seconds
from devbox.ssh import config, include, keys, known_hosts, wait
from devbox.ssh.command import noise_in
from devbox.ssh.connection import Connection, preload
from devbox.telemetry import arming
from devbox.text import clean, duration
from devbox.workspace import Workspace

# Seconds between looks at a provider while it starts or stops: soon at first, then patient.
_POLLS = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
STOP_TIMEOUT = 5 * 60.0


def to_running(ws: Workspace, box: Box, journal: Journal, *, wait_for: bool = True) -> Box:
    """Create or resume, wait until it runs, make it reachable, arm its watchdog."""
    box, looked = _begin(ws, box, journal)
    if not wait_for:
        journal.step("accepted", lambda: None)  # its create is over: nobody calls it once more
        ws.narrate(f"{box.name}: accepted; finish with: devbox status {box.name} --wait")
        ws.narrate(f"{box.name}: {_cost_line(ws, box)}")
        return box
    try:
        box = journal.step("observe", lambda: _until_running(ws, box, looked=looked))
    except KeyboardInterrupt:
        withdraw(ws, box)
        raise
    except TimedOut as error:
        if withdraw(ws, box):
            error.means = (
                "it was taken back from the queue, so that it cannot start by itself; "
                + (_cost_line(ws, box))
            )
        raise
    if spec.is_headless(box):
        if box.state.is_over:
            return closed(ws, box, journal)
        journal.finish("running")
        return box
    unwritten = journal.step("ssh", lambda: _publish(ws, box))
    connection = journal.step("login", lambda: _log_in(ws, box))
    with connection:
        provider = ws.provider_of(box)
        recipe = provider.watchdog(box.handle)
        kept = provider.pause_keeps(spec.decode_box(box.spec)).disk
        found = guards(ws, box)
        ws.narrate(f"{box.name}: {'; '.join(found.lines)}")
        if found.fix:
            ws.narrate(f"{box.name}: to have it pause itself: {found.fix}")
        journal.step("arm", lambda: arming.arm(connection, box, recipe, disk_kept=kept))
        if noise := noise_in(connection.noise):
            ws.narrate(f"{box.name}: {noise}")
        _keep_again(ws, box, connection)
        if len(ws.store.ledger.of_box(box.id)) > 1:
            # What its watchdog did before a pause, as far as its files or volumes tell.
            for event in happenings.collect(ws, box, connection):
                if event.kind == happenings.RESTORED:
                    ws.narrate(f"{box.name}: {event.message}")
    # Guarded from here on; what follows is for the comfort of this computer.
    journal.step("include", lambda: _extend_user_config(ws, box))
    if unwritten:
        raise unwritten
    journal.finish("running")
    return current(ws, box)


def withdraw(ws: Workspace, box: Box) -> bool:
    """Take a box back that waits for a machine and that nobody waits for any more, so that it
    cannot start, and cost, later: what Modal's own client does too. False for any other box. What
    it was resumed from is kept."""
    box = current(ws, box)
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
    provider = pausable(ws, box)
    if box.state not in (BoxState.PAUSED, BoxState.PAUSING):
        box = mark(ws, box, BoxState.PAUSING)
    try:
        with _costing(ws, box), waiting(ws, box, "being paused"):
            handle = provider.pause_by(journal.call, box.handle)
        box = mark(ws, box, BoxState.PAUSING, handle=handle)
    except Gone:
        ws.narrate(f"{box.name}: the provider no longer knows it")
    box = journal.step(
        "confirm", lambda: _until_stopped(ws, box, lambda b: b.state is not BoxState.PAUSING)
    )
    journal.step("forget", lambda: _forget(ws, box))
    journal.finish(box.state)
    return box


def pausable(ws: Workspace, box: Box) -> CanPause:
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
    box = mark(ws, box, BoxState.STOPPING)
    provider = ws.provider_of(box)
    box = find_handle(ws, box)
    if not box.handle:
        box = journal.step("seek", lambda: seek(ws, box))
    if box.handle:
        with _costing(ws, box), waiting(ws, box, "being ended"):
            journal.call("terminate", lambda: provider.terminate(box.handle))
        if box.unanswered is not None or provider.may_double:
            journal.step("twins", lambda: end_twins(ws, box))
        box = journal.step("confirm", lambda: _until_stopped(ws, box, lambda b: b.state.is_over))
    else:
        box = absorb(ws, box, None)
    return closed(ws, box, journal)


def closed(ws: Workspace, box: Box, journal: Journal) -> Box:
    """The last step for a box that is over: nothing of it stays in ssh."""
    journal.step("forget", lambda: _forget(ws, box))
    _host_key_file(box).unlink(missing_ok=True)
    _login_file(box).unlink(missing_ok=True)
    journal.finish(box.state)
    return box


def _begin(ws: Workspace, box: Box, journal: Journal) -> tuple[Box, bool]:
    """Create, or join what another computer made under this name; resume when it is paused.
    Also whether the box was looked at after all that."""
    provider, looked = ws.provider_of(box), False
    if not box.handle or box.state is BoxState.FAILED or _half_made(ws, box):
        box = placed(ws, box)
        asked = request(ws, box)
        box = _create(ws, box, journal, asked)
        box, looked = absorb(ws, box, retried(ws, lambda: absence.observe(ws, box))), True
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
            failed = mark(ws, box, BoxState.FAILED)
            ws.store.boxes.update(msgspec.structs.replace(failed, message=clean(error.what, 300)))
        error.means = "; ".join(filter(None, (_cost_line(ws, box), error.means)))
        raise


def _half_made(ws: Workspace, box: Box) -> bool:
    """Its create was begun and not seen to end: it may exist with steps missing, which create,
    called again, adds."""
    work = ws.store.boxes.open_intents(box.id)
    return any(intent.goal == "running" and intent.step == "create" for intent in work)


def request(ws: Workspace, box: Box) -> Request:
    """What a provider needs to make this box; its secrets are read now."""
    wanted = with_image(ws, spec.decode_box(box.spec), box.hardware)
    wanted = msgspec.structs.replace(wanted, start_timeout=Seconds(_start_timeout(ws, box)))
    return Request(
        name=box.slug or box.name,
        token=box.token,
        spec=wanted,
        hardware=box.hardware,
        public_key=keys.ensure_identity(),
        host_key=_host_key(box),
        secrets={name: secrets.resolve(reference) for name, reference in wanted.secrets.items()},
        root=box.root or str(ws.spec.root),
    )


def with_image(ws: Workspace, wanted: spec.BoxSpec, hardware: str) -> spec.BoxSpec:
    """The spec with its image, where it leaves that to its provider."""
    chosen = wanted.image or ws.provider(wanted.provider).default_image(hardware)
    return msgspec.structs.replace(wanted, image=chosen)


def _start_timeout(ws: Workspace, box: Box) -> float:
    return ws.start_timeout or spec.decode_box(box.spec).start_timeout


def _host_key_file(box: Box) -> Path:
    return private_dir(paths.ssh_dir() / "hosts") / box.id


def _host_key(box: Box) -> str:
    """The box's own sshd key: made once, so that creating twice gives one identity."""
    file = _host_key_file(box)
    if not file.exists():
        write_atomic(file, keys.new_host_key()[0])
    return file.read_text()


def _until(
    ws: Workspace,
    box: Box,
    done: Callable[[Box], bool],
    timeout: float,
    *,
    looked: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> Box:
    """Observe until `done`. After `timeout` seconds the box stays as it is, still costing.
    looked: `box` is its provider's answer of this moment. meanwhile: done once, in what would be
    idle waiting."""
    with waiting(ws, box, box.stage or box.state, timeout) as wait_:
        return _looking(ws, box, done, timeout, wait_, looked=looked, meanwhile=meanwhile)


def _looking(
    ws: Workspace,
    box: Box,
    done: Callable[[Box], bool],
    timeout: float,
    told: Wait,
    *,
    looked: bool,
    meanwhile: Callable[[], None] | None,
) -> Box:
    began, stage = ws.clock(), ""
    for look in itertools.count():
        if look or not looked:
            box = absorb(ws, current(ws, box), retried(ws, lambda: absence.observe(ws, box)))  # noqa: B023
        if done(box):
            return box
        if (box.stage or box.state) != stage:
            stage = box.stage or box.state
            ws.narrate(f"{box.name}: {stage}")
        told.now(stage, ws.store.ledger.current(box.id))
        if ws.clock() - began > timeout:
            raise TimedOut(
                f"{box.name} is still {stage} after {duration(timeout)}",
                means=_cost_line(ws, box),
            )
        if meanwhile and not look:
            meanwhile()
        else:
            ws.sleep(_POLLS[min(look, len(_POLLS) - 1)])
    raise AssertionError("unreachable")


def _until_running(ws: Workspace, box: Box, *, looked: bool) -> Box:
    log = BuildLog(ws.provider_of(box), ws.narrate)

    def settled(seen: Box) -> bool:
        log.look(seen)
        return seen.state.is_settled

    limit = _start_timeout(ws, box)
    try:
        box = _until(ws, box, settled, limit, looked=looked, meanwhile=preload)
    except TimedOut as error:
        error.fix = (
            f"wait longer with: devbox up {box.name} --timeout {duration(2 * limit)} (or "
            f"start_timeout in devbox.toml); end it with: devbox down {box.name}"
        )
        raise
    log.finish()
    headless = spec.is_headless(box)
    if box.state is BoxState.RUNNING or (headless and box.state is BoxState.TERMINATED):
        return box  # a short command may be over by now
    if box.state is BoxState.FAILED:
        what = "its command failed" if headless and box.started else "did not start"
        raise BuildFailed(
            f"{box.name}: {what}: {box.stage or 'failed'}: {box.message}",
            means=_cost_line(ws, box),
            fix=f"devbox down {box.name}; fix the cause, then: devbox up {box.name}"
            if headless
            else f"fix the cause and run: devbox up {box.name}; or: devbox down {box.name}",
        )
    raise ProviderError(
        f"{box.name} became {box.state} while starting"
        + (f": {box.message}" if box.message else ""),
        means=_cost_line(ws, box),
        fix=f"devbox up {box.name}",
    )


def _until_stopped(ws: Workspace, box: Box, done: Callable[[Box], bool]) -> Box:
    """A pause or an end, as its provider confirms it. One that it does not confirm is named by
    what was asked for: the provider's own word may still be that it runs."""
    try:
        return _until(ws, box, done, STOP_TIMEOUT)
    except TimedOut as error:
        box = current(ws, box)
        shown = f": its provider shows {box.stage}" if box.stage else ""
        ends = "" if box.state is BoxState.STOPPING else f"; devbox down {box.name} ends it"
        raise TimedOut(
            f"{box.name} is still {box.state} after {duration(STOP_TIMEOUT)}{shown}",
            means=error.means,
            fix=f"devbox reconcile tries again{ends}",
        ) from error


def _log_in(ws: Workspace, box: Box) -> Connection:
    """Wait for a login. A gateway that knows keys of its own says which one it lacks; a box that
    knows a key which this computer has lost takes the present one, where its provider can."""
    if not knows_our_key(box):
        ws.narrate(
            f"{box.name}: this computer's ssh key was lost or replaced, and is new to the box"
        )
        _admit(ws, box)
    limit = spec.decode_box(box.spec).login_timeout
    try:
        with waiting(ws, box, "waiting for ssh to answer", limit):
            connection = wait.for_login(
                box,
                timeout=limit,
                clock=ws.clock,
                sleep=ws.sleep,
                first_use=ws.narrate,
                refused=lambda: _refused(ws, box),
            )
    except NoAnswer as error:
        error.means = f"it runs as far as its provider says; {_cost_line(ws, box)}"
        error.fix = (
            f"{error.fix}; wait longer with login_timeout in devbox.toml; "
            f"end it with: devbox down {box.name}"
        )
        raise
    except KeyRefused as error:
        help_ = ws.provider_of(box).login_help(box.handle)
        means = _cost_line(ws, box)
        raise KeyRefused(error.what, means=means, fix=help_ or error.fix) from error
    write_atomic(_login_file(box), keys.ensure_identity())
    return connection


def _refused(ws: Workspace, box: Box) -> None:
    ws.narrate(
        f"{box.name}: its ssh server does not take our key yet, which may be a matter of "
        f"seconds. {ws.provider_of(box).login_help(box.handle)}".strip()
    )
    _admit(ws, box)


def _admit(ws: Workspace, box: Box) -> None:
    """Have the provider let our key in, where it can. What fails is told: the login says more."""
    provider = ws.provider_of(box)
    if isinstance(provider, CanAdmit):
        try:
            retried(ws, lambda: provider.admit(box.handle, keys.ensure_identity()))
        except DevboxError as error:
            ws.narrate(f"{box.name}: {error.what}")


def knows_our_key(box: Box) -> bool:
    """Whether the key that last logged in on the box is still the one of this computer."""
    if not paths.identity().exists():
        return False
    known = _login_file(box)
    return not known.exists() or known.read_text(encoding="utf-8") == keys.ensure_identity()


def _login_file(box: Box) -> Path:
    """Holds the public key that last logged in."""
    return _host_key_file(box).with_suffix(".login")


def _publish(ws: Workspace, box: Box) -> DevboxError | None:
    """Pin the host key and write devbox's own ssh config. Arming needs only the pin, so an error
    beyond that is returned, to be raised once the box is guarded."""
    config.check(box)
    try:
        config.publish(ws.store.boxes.all, narrate=ws.narrate)
    except (DevboxError, OSError) as error:
        told = box.endpoint is not None and box.endpoint.host_keys is not None
        if told and not known_hosts.pinned(known_hosts.alias(box)):
            raise
        return SshError(
            f"{box.name} runs, but devbox's ssh config could not be written: {error}",
            means=f"its watchdog is armed; {_cost_line(ws, box)}",
            fix=f"devbox up {box.name} tries again",
        )
    return None


def _extend_user_config(ws: Workspace, box: Box) -> None:
    """Make `ssh devbox-NAME` work in the user's own tools. A file that we may not write, or that
    ssh cannot read, is told and changes nothing else; so is what keeps the alias from working."""
    if not ws.integrate:
        return
    try:
        include.install()
        include.check(box)
    except DevboxError as error:
        ws.narrate("; ".join(filter(None, (f"{box.name}: {error.what}", error.means, error.fix))))


def _forget(ws: Workspace, box: Box) -> None:
    """Take the box out of ssh. What fails here changes nothing about the box, and is told."""
    try:
        config.forget(box)
        config.publish(ws.store.boxes.all, narrate=ws.narrate)
    except (DevboxError, OSError) as error:
        ws.narrate(f"{box.name}: its ssh entry could not be removed: {error}")


@contextmanager
def refusable(
    ws: Workspace, box: Box, journal: Journal, undo: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """A change of a box that exists. When it is refused, `undo` runs and the goal is closed, as
    far as nothing is left to do; whatever went wrong, the error says what the box is and costs."""
    try:
        yield
    except DevboxError as error:
        if not isinstance(error, Unavailable):
            undo()
            _look_again(ws, box)
            if current(ws, box).state.is_settled:
                journal.finish("refused")
        error.means = standing(ws, box)
        raise


def standing(ws: Workspace, box: Box) -> str:
    """What the box is and costs, for an error about a change of it."""
    box = current(ws, box)
    found = exposure.of(ws, box)
    if box.state is BoxState.RUNNING and found.now:
        return f"{box.name} still runs on {box.hardware} and costs {found.rate}"
    return f"{box.name} is {box.state}: {found.sentence}"


def _look_again(ws: Workspace, box: Box) -> None:
    """Its provider's word after a refusal, which may have come half-way; none is no reason to
    hide the refusal."""
    with suppress(DevboxError):
        absorb(ws, current(ws, box), absence.observe(ws, current(ws, box)))


@contextmanager
def _costing(ws: Workspace, box: Box) -> Iterator[None]:
    """A stop that is refused says first of all what that costs."""
    try:
        yield
    except Gone:
        raise
    except DevboxError as error:
        error.means = "; ".join(filter(None, (_cost_line(ws, box), error.means)))
        error.fix = "; ".join(filter(None, (error.fix, "devbox reconcile tries again")))
        raise


def _cost_line(ws: Workspace, box: Box) -> str:
    return exposure.of(ws, current(ws, box)).sentence

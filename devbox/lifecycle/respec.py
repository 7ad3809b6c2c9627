"""devbox.toml against the spec a box was made from. `up` takes over what can change in place, and
names the rest with the verb that brings it about, so that no edit is ignored silently."""

from __future__ import annotations

import msgspec

from devbox import spec
from devbox.errors import Conflict, NotFound
from devbox.lifecycle import absence
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState, Offer
from devbox.money.fit import best, fit
from devbox.providers.abilities import CanPause, CanResize
from devbox.providers.base import Provider
from devbox.remote.config import ssh_config
from devbox.remote.exec import Exec
from devbox.telemetry import rearm
from devbox.text import clean, dollars, duration

#: what a box gets over ssh, after it runs
_SETUP = ("setup", "dotfiles", "git_identity", "forward_agent")
_IN_PLACE = frozenset({"idle", "sync", "schedule", "pause_at", "max_runs", "budget", *_SETUP})
_CHOICE = frozenset({"hardware", "gpu", "vram", "max_price", "cpu", "memory"})
#: boxes that `up` starts: what they cannot follow is refused before that
STOPPED = (BoxState.PAUSED, BoxState.FAILED)
_SHOWN = frozenset({"provider", "image", "workdir", "region", "host", "space", "max_uptime"})


class Changes(msgspec.Struct, frozen=True):
    """taken: keys of devbox.toml that the box can follow now, and `spec` with them. offer: other
    hardware that its next resume starts it on. choices: the new `choices` of its row. left: what it
    cannot follow, for a user to read; verbs: the commands that bring that about."""

    spec: spec.BoxSpec
    taken: tuple[str, ...] = ()
    offer: Offer | None = None
    choices: bytes = b""
    left: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


def compare(op: BoxOperation, wanted: spec.BoxSpec) -> Changes:
    """What of `wanted` differs from the spec that the box was made from."""
    box, provider = op.box, op.provider
    asked = wanted
    wanted = spec.choice_of(asked, box.provider, box.hardware, provider.hardware_name)
    made = msgspec.structs.replace(op.spec, workdir=box.workdir)
    keys = [key for key in wanted.__struct_fields__ if _differs(made, wanted, key)]
    if "provider" in keys:
        # Names of hardware and images mean nothing at another provider.
        keys = [key for key in keys if key in {"provider", *_IN_PLACE}]
    offer = _other_hardware(box, provider, wanted) if _CHOICE & set(keys) else None
    if offer is None and not {"cpu", "memory"} & set(keys):
        quiet = _CHOICE & set(keys)  # the hardware it has is what they choose too
    else:
        quiet, keys = frozenset(), [key for key in keys if key not in _CHOICE] + ["hardware"]
    resumes = box.state is BoxState.PAUSED and isinstance(provider, CanPause)
    follows = provider.resume_takes if resumes and isinstance(provider, CanPause) else frozenset()
    taken = [key for key in keys if key in quiet or _can_follow(made, wanted, key, follows)]
    left = [key for key in keys if key not in taken]
    updated = taken + [key for key in _CHOICE if "hardware" in taken]
    if resumes and offer is None and {"hardware", "region"} & set(taken):
        # the same hardware at another price: more of it, or elsewhere
        offer = best(provider, msgspec.structs.replace(wanted, hardware=box.hardware))
    return Changes(
        msgspec.structs.replace(op.spec, **{key: getattr(wanted, key) for key in updated}),
        tuple(key for key in taken if key not in quiet),
        offer if {"hardware", "region"} & set(taken) else None,
        b"" if asked == wanted else spec.encode_box(asked),
        tuple(_told(box, made, wanted, key, offer) for key in left),
        tuple(dict.fromkeys(_verb(box, provider, key, offer) for key in left)),
    )


def take(op: BoxOperation, changes: Changes) -> None:
    """Record what the box can follow; a running one's watchdog gets its new orders."""
    ws, box = op.ws, op.box
    encoded = spec.encode_box(changes.spec)
    if (encoded, changes.choices) == (box.spec, box.choices):
        return
    fields: dict[str, object] = {"spec": encoded, "choices": changes.choices}
    if changes.offer:
        hardware, price = changes.offer.hardware.name, changes.offer.price
        rate = dollars(price.micro_per_hour, per_hour=True)
        op.narrate(f"from now on {hardware} at {rate} ({price.source})")
        fields |= {"hardware": hardware, "price": price}
    orders = {"idle", "max_uptime", "budget"} & set(changes.taken)
    if orders and box.state is BoxState.RUNNING and not op.spec.command:
        # first: what is on record is what its watchdog follows
        rearm.arm(ws, msgspec.structs.replace(box, **fields), Exec(box))
    op.amend(**fields)
    if "forward_agent" in changes.taken and box.endpoint:
        ssh_config.forget(box)  # a shared connection keeps what it was opened with
        ssh_config.publish(ws.store.boxes.all, narrate=ws.narrate)
    if changes.taken:
        follows = f"follows devbox.toml in {', '.join(changes.taken)}"
        op.narrate(follows)
        ws.store.events.add(box.id, "spec", follows, ws.clock())


def refuse_left(box: Box, changes: Changes) -> None:
    """Conflict that names what the box cannot follow; nothing when it follows it all."""
    if not changes.left:
        return
    as_made = f"; as it was made: devbox resume {box.name}" * (box.state is BoxState.PAUSED)
    raise Conflict(
        f"{box.name} was made from another devbox.toml: {'; '.join(changes.left)}",
        means="nothing was started"
        if box.state in STOPPED
        else f"{box.name} is {box.state} as it was made",
        fix="; ".join(changes.verbs) + as_made,
    )


def is_unmade(op: BoxOperation) -> bool:
    """It was never asked for at its provider, or every time refused there: nothing of it exists."""
    box = op.box
    refused = box.state is BoxState.FAILED or not op.ws.store.boxes.was_asked_for(box.id)
    return not box.handle and refused and not absence.unsettled(op)


def differs(op: BoxOperation, wanted: spec.BoxSpec) -> bool:
    """Whether devbox.toml asks for another box than the one it was made from."""
    made = spec.decode_box(op.box.choices) if op.box.choices else op.spec
    return any(_differs(made, wanted, key) for key in wanted.__struct_fields__)


def drop(op: BoxOperation) -> None:
    """Give up an unmade box, so that its name is free for one by the present devbox.toml."""
    message = "devbox.toml changed before it was created"
    op.set_state(BoxState.TERMINATED, message, message=message)
    if goal := op.open_goal():
        op.ws.store.boxes.finish(goal.id, "given up", op.ws.clock())


def _differs(made: spec.BoxSpec, wanted: spec.BoxSpec, key: str) -> bool:
    before, after = getattr(made, key), getattr(wanted, key)
    # '' leaves the choice to devbox, which has chosen.
    return bool(before != after and not (key in ("image", "workdir") and after == ""))


def _other_hardware(box: Box, provider: Provider, wanted: spec.BoxSpec) -> Offer | None:
    """The offer that `wanted` chooses, when the box's own hardware does not do."""
    if wanted.first_hardware:
        same = provider.hardware_name(wanted.first_hardware) == box.hardware
        return None if same else best(provider, wanted)
    offers = provider.offers_for(wanted)
    try:
        fit(wanted, [offer for offer in offers if offer.hardware.name == box.hardware])
    except NotFound:
        return fit(wanted, offers)
    return None


def _can_follow(
    made: spec.BoxSpec, wanted: spec.BoxSpec, key: str, follows: frozenset[str]
) -> bool:
    if key == "max_uptime" and wanted.max_uptime < made.max_uptime:
        return True
    if key in ("env", "secrets") and set(getattr(made, key)) - set(getattr(wanted, key)):
        return False  # a name that was set at the provider is not taken away again by a resume
    return key in _IN_PLACE or key in follows


def _told(box: Box, made: spec.BoxSpec, wanted: spec.BoxSpec, key: str, offer: Offer | None) -> str:
    if key == "hardware" and offer:
        return f"hardware is {clean(box.hardware, 60)}, not {clean(offer.hardware.name, 60)}"
    if key not in _SHOWN:
        return f"{key} differs"
    before, after = getattr(made, key), getattr(wanted, key)
    if key == "max_uptime":
        before, after = duration(before), duration(after)
    return f"{key} is {clean(str(before), 60) or 'unset'}, not {clean(str(after), 60) or 'unset'}"


def _verb(box: Box, provider: Provider, key: str, offer: Offer | None) -> str:
    again = f"devbox down {box.name} && devbox up {box.name}"
    if box.state is not BoxState.RUNNING:
        return again
    if key == "hardware" and offer and isinstance(provider, CanResize):
        return f"devbox resize {box.name} {offer.hardware.name}"
    if isinstance(provider, CanPause) and key in provider.resume_takes:
        return f"devbox pause {box.name} && devbox up {box.name}"
    return again

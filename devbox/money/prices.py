"""What providers offer a box, with prices, as each said last and when: a dated cache, so that a
plan needs no network. One that was never asked is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from devbox import files, paths
from devbox.described import described
from devbox.errors import DevboxError
from devbox.model import Offer
from devbox.money import known
from devbox.spec import BoxSpec, Bytes, choices
from devbox.spec.provider_settings import BOX_KEYS
from devbox.workspace import Workspace

_MOST = 60  # answers kept
#: a box that asks for no hardware in particular
_ANY = {"hardware": "", "gpu": "", "vram": Bytes(0), "max_price": None}


class Answer(msgspec.Struct):
    """at: when it was asked, unix seconds. failed: why there are no offers; '' when there are."""

    at: float
    offers: list[Offer] = []
    failed: str = ""


def answers(
    ws: Workspace, wanted: BoxSpec, providers: Sequence[str], *, refresh: bool = False
) -> dict[str, Answer]:
    """Provider → what it offers a box of that spec, whatever hardware it is to have, from the
    cache. refresh: all are asked, else only those that were not before: also why one had nothing
    is kept. One that cannot be asked now keeps its last offers, with their age."""
    kept, now = _kept(), ws.clock()
    found: dict[str, Answer] = {}
    specs: dict[str, BoxSpec] = {}
    keys: dict[str, str] = {}
    for name in providers:
        specs[name] = msgspec.structs.replace(at_provider(wanted, name), **_ANY)
        try:
            keys[name] = _key(ws, specs[name])
        except DevboxError as error:
            found[name] = Answer(now, failed=error.what)
            continue
        if keys[name] in kept and not refresh:
            found[name] = kept[keys[name]]
    missing = {name: specs[name] for name in providers if name not in found}
    for name, answer in _ask(ws, missing).items() if missing else ():
        before = kept.get(keys[name])
        found[name] = before if answer.failed and before and before.offers else answer
    if missing:
        known.remember(offer for name in missing for offer in found[name].offers)
        _keep({keys[name]: found[name] for name in missing})
    return {name: found[name] for name in providers}


def at_provider(wanted: BoxSpec, provider: str) -> BoxSpec:
    """The same box at a provider: with what its table says of that one, and without keys that only
    others read."""
    own = next((each for each in choices(wanted) if each.provider == provider), None)
    elsewhere = {"provider": provider, "providers": (), "on": {}, "choose": "first", "hardware": ""}
    own = own or msgspec.structs.replace(wanted, **elsewhere)
    empty = BoxSpec()
    others = {k: getattr(empty, k) for k, takers in BOX_KEYS.items() if provider not in takers}
    return msgspec.structs.replace(own, **others)


def _ask(ws: Workspace, wanted: dict[str, BoxSpec]) -> dict[str, Answer]:
    """All of them at once."""
    from concurrent.futures import ThreadPoolExecutor  # why here: most plans ask nobody

    now = ws.clock()

    def one(name: str) -> Answer:
        try:
            return Answer(now, ws.provider(name).offers_for(wanted[name]))
        except DevboxError as error:
            return Answer(now, failed=error.what)

    with ThreadPoolExecutor(len(wanted)) as pool:
        return dict(zip(wanted, pool.map(one, wanted), strict=True))


def _key(ws: Workspace, wanted: BoxSpec) -> str:
    """Names what an answer depends on: where the provider is, and what changes a price."""
    settings = msgspec.to_builtins(ws.spec.provider(wanted.provider), enc_hook=float)
    asked = [wanted.region, wanted.cpu, int(wanted.memory), bool(wanted.expose)]
    whole = msgspec.json.encode([wanted.provider, settings, asked])
    return hashlib.sha256(whole).hexdigest()[:16]


def _kept() -> dict[str, Answer]:
    try:
        return msgspec.json.decode(_file().read_bytes(), type=described(dict[str, Answer]))
    except (OSError, msgspec.DecodeError):
        return {}


def _keep(fresh: dict[str, Answer]) -> None:
    """A disk that takes none is no reason to fail."""
    with suppress(OSError, DevboxError):
        newest = sorted((_kept() | fresh).items(), key=lambda each: -each[1].at)
        files.write_atomic(_file(), msgspec.json.encode(dict(newest[:_MOST])))


def _file() -> Path:
    return paths.cache_dir() / "prices.json"

"""The user's account at the Hub: what it lacks for boxes, and how to get it."""

from __future__ import annotations

from typing import Any

from devbox import secrets
from devbox.errors import AuthError, DevboxError
from devbox.providers.hf import errors
from devbox.providers.hf.hub import Hub
from devbox.remote import keys
from devbox.text import clean

Check = tuple[str, str, str]
PAUSE_TOKEN_FIX = (
    f"make a token for that one Space at {errors.TOKENS}; "
    'then [providers.hf] pause_token = "env:NAME"'
)


def doctor(hub: Hub, *, dev_mode: bool) -> list[Check]:
    """Token, its rights, PRO (for Dev Mode), payment: (level, what, fix)."""
    try:
        hub.token()
    except AuthError as error:
        return [("warn", error.what, error.fix)]
    try:
        who = hub.who()
    except AuthError as error:
        return [("fail", error.what, error.fix)]
    except DevboxError as error:
        fix = error.fix or "check endpoint in [providers.hf], or HF_ENDPOINT"
        return [("fail", f"{hub.endpoint} cannot be reached: {error.what}", fix)]
    name = clean(str(who.get("name")), 60)
    found: list[Check] = [("ok", f"logged in to {hub.endpoint} as {name}", "")]
    if _role(who) == "read":
        fix = f"make one with write access at {errors.TOKENS}"
        found.append(("fail", "the token may only read", fix))
    if dev_mode and who.get("isPro") is not True and not _in_plan(who):
        fix = f"subscribe at {errors.PRO}, or set namespace in [providers.hf] to such a team"
        found.append(("warn", f"{name} has no PRO, which Dev Mode needs", fix))
    if who.get("canPay") is not True:
        fix = f"add a payment method at {errors.BILLING}"
        found.append(("warn", f"{name} has no payment method: only free hardware", fix))
    return found


def pause_token(reference: str) -> list[Check]:
    """Whether boxes can pause themselves while this computer is off."""
    scoped = f"make a token for that one Space at {errors.TOKENS}"
    if not reference:
        what = "Spaces cannot pause themselves while this computer is off"
        return [("warn", what, PAUSE_TOKEN_FIX)]
    try:
        secrets.resolve(reference)
    except DevboxError as error:
        return [("fail", f"pause_token of [providers.hf]: {error.what}", error.fix or scoped)]
    return [("ok", "Spaces get a token to pause themselves with", "")]


def login_help(hub: Hub, also: str = "") -> str:
    """What to do when the gateway refuses our key: it admits keys of the user's account."""
    settings = errors.KEYS.replace("https://huggingface.co", hub.endpoint)
    lines = [f"add this public key at {settings} and try again: {keys.ensure_identity()}"]
    return "\n".join([*lines, *([also] if also else [])])


def _role(who: dict[str, Any]) -> str:
    auth = who.get("auth")
    access = auth.get("accessToken") if isinstance(auth, dict) else None
    return str(access.get("role")) if isinstance(access, dict) else ""


def _in_plan(who: dict[str, Any]) -> bool:
    orgs = who.get("orgs")
    return any(
        isinstance(org, dict) and (org.get("isEnterprise") or org.get("plan"))
        for org in (orgs if isinstance(orgs, list) else [])
    )

"""The user's account at the Hub: what it lacks for boxes and how to get it, its prices and bill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from devbox import paths, secrets
from devbox.errors import AuthError, DevboxError, UsageError
from devbox.model import Offer
from devbox.providers.abilities import CanLogIn, Charge, HasBill, Secrets
from devbox.providers.base import Finding, Provider
from devbox.providers.hf import bill, errors
from devbox.providers.hf.hardware import Rates
from devbox.providers.hf.hub import Hub
from devbox.remote import keys
from devbox.text import clean, duration
from devbox.wire.codec import JsonObject

PAUSE_TOKEN_FIX = (
    f"make a token for that one Space at {errors.TOKENS}; "
    'then [providers.hf] pause_token = "env:NAME"'
)


def needed() -> Secrets:
    """What to ask a user for who has no token."""
    return Secrets(
        (
            f"a Hugging Face access token with write access: make one at {errors.TOKENS}",
            f"for Dev Mode (hf-space), PRO: {errors.PRO}; for paid hardware, a payment method: "
            f"{errors.BILLING}",
        ),
        ("access token",),
    )


def has_token(hub: Hub) -> bool:
    try:
        return bool(hub.token())
    except AuthError:
        return False


def log_in(hub: Hub, values: Sequence[str]) -> str:
    """Keep a token as `hf auth login` does, once the Hub has accepted it; the file."""
    from huggingface_hub import constants, login

    if hub.endpoint != constants.ENDPOINT.rstrip("/"):
        raise UsageError(
            f"the client keeps tokens for {clean(constants.ENDPOINT, 200)}, and [providers.hf] "
            f"names {clean(hub.endpoint, 200)}",
            means="the token was sent nowhere",
            fix=f"export HF_ENDPOINT={hub.endpoint}, then log in again",
        )
    (token,) = values
    secrets.require_private(hub.endpoint, "the Hugging Face")
    with errors.translated("checking the token"):
        hub.session()
        login(token.strip())
    return constants.HF_TOKEN_PATH


class HubProvider(Provider, CanLogIn, HasBill):
    """Of both providers of the Hub: one account, with one token that is kept where the Hub's own
    client keeps it, and its prices and bill."""

    product: Literal["spaces", "jobs"]  # as the Hub's prices and bill call it
    _hub: Hub
    _rates: Rates

    def identity(self) -> str:
        return self._hub.identity()

    def offers(self) -> list[Offer]:
        return self._rates.offers()

    def renew_prices(self) -> bool:
        return self._rates.renew()

    def bill(self, start: float, end: float) -> list[Charge]:
        return bill.charges(self._hub, start, end, self.product)

    def secrets(self) -> Secrets:
        return needed()

    def has_secrets(self) -> bool:
        return has_token(self._hub)

    def log_in(self, values: Sequence[str]) -> str:
        return log_in(self._hub, values)


def checks(hub: Hub, *, dev_mode: bool) -> list[Finding]:
    """Token, its rights, PRO (for Dev Mode), ZeroGPU, payment, ssh keys."""
    try:
        hub.token()
        who = hub.who()
    except AuthError as error:
        return [("fail", error.what, error.fix)]
    except DevboxError as error:
        fix = error.fix or "check endpoint in [providers.hf], or HF_ENDPOINT"
        return [("fail", f"{hub.endpoint} cannot be reached: {error.what}", fix)]
    name = clean(str(who.get("name")), 60)
    found: list[Finding] = [("ok", f"logged in to {hub.endpoint} as {name}", "")]
    if _role(who) == "read":
        fix = f"make one with write access at {errors.TOKENS}"
        found.append(("fail", "the token may only read", fix))
    if dev_mode:
        found += [_plan(who, name), _zero_gpu(hub)]
    if who.get("canPay") is True:
        found.append(("ok", f"{name} has a payment method", ""))
    else:
        fix = f"add a payment method at {errors.BILLING}"
        found.append(("warn", f"{name} has no payment method: only free hardware", fix))
    what = "credits left: the Hub's client cannot ask"
    return [*found, ("unknown", what, f"see {errors.BILLING}"), *_keys(hub)]


def _plan(who: JsonObject, name: str) -> Finding:
    if who.get("isPro") is True:
        return ("ok", f"{name} has PRO, which Dev Mode needs", "")
    if _in_plan(who):
        return ("ok", f"a team of {name} has a plan with Dev Mode", "")
    fix = f"subscribe at {errors.PRO}, or set namespace in [providers.hf] to such a team"
    return ("warn", f"{name} has no PRO, which Dev Mode needs", fix)


def _zero_gpu(hub: Hub) -> Finding:
    """How much of the account's ZeroGPU time is left. A fine-grained token needs a right for it."""
    try:
        quota = hub.call("asking for the ZeroGPU quota", lambda api: api.get_zero_gpu_quota())
        left, whole = duration(max(0.0, quota.remaining)), duration(quota.base)
    except DevboxError as error:
        return ("unknown", f"ZeroGPU time left: {error.what}", f"see {errors.BILLING}")
    return ("ok", f"ZeroGPU time left: {left} of {whole}", "")


def _keys(hub: Hub) -> list[Finding]:
    """Whether the gateway will let this computer in."""
    if not paths.identity().exists():
        return []
    what = "this computer's ssh key at the account: the Hub's client cannot ask"
    settings = errors.KEYS.replace("https://huggingface.co", hub.endpoint)
    return [("unknown", what, f"add it once at {settings}: {keys.ensure_identity()}")]


def pause_token(reference: str) -> list[Finding]:
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


def _role(who: JsonObject) -> str:
    auth = who.get("auth")
    access = auth.get("accessToken") if isinstance(auth, dict) else None
    return str(access.get("role")) if isinstance(access, dict) else ""


def _in_plan(who: JsonObject) -> bool:
    orgs = who.get("orgs")
    return any(
        isinstance(org, dict) and (org.get("isEnterprise") or org.get("plan"))
        for org in (orgs if isinstance(orgs, list) else [])
    )

"""Modal credentials and what the account says of itself, for `devbox login` and `devbox doctor`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from devbox import secrets
from devbox.errors import AuthError, DevboxError
from devbox.providers.abilities import Secrets
from devbox.providers.base import Finding
from devbox.providers.modal.account import Account
from devbox.providers.modal.errors import BILLING, STATUS, not_installed, translated
from devbox.text import dollars

TOKENS = "https://modal.com/settings/tokens"
_PATIENCE = 15.0


def needed() -> Secrets:
    """What to ask a user for who has no token."""
    return Secrets(
        (f"a Modal token, which has two parts: make one at {TOKENS}, or with: modal token new",),
        ("token id (ak-…)", "token secret (as-…)"),
    )


def has_token() -> bool:
    try:
        from modal.config import config
    except ImportError as error:
        raise not_installed() from error
    keys = ("token_id", "oauth_refresh_token")
    return any(config.get(key) for key in keys)


def log_in(account: Account, values: Sequence[str]) -> str:
    """Keep a token as `modal token set` does, once Modal has accepted it; the file."""
    token, secret = (value.strip() for value in values)
    server = account.server_url
    secrets.require_private(server, "the Modal")
    doing = "checking the token"
    with translated(doing):
        from modal import config as theirs

    said = account.do(doing, lambda: theirs._lookup_workspace(server, token, secret), _PATIENCE)
    kept = {"token_id": token, "token_secret": secret}
    if server != theirs.DEFAULT_SERVER_URL:
        kept["server_url"] = server
    theirs._store_user_config(kept, profile=said.username, active_profile=said.username)
    os.chmod(theirs.user_config_path, 0o600)
    # Read again what was read when the module was loaded.
    theirs._user_config = theirs._read_user_config()  # type: ignore[no-untyped-call]
    theirs._profile = os.environ.get("MODAL_PROFILE") or said.username
    return str(theirs.user_config_path)


def checks(account: Account) -> list[Finding]:
    """Client, token, app and money."""
    try:
        workspace = account.workspace(_PATIENCE)
    except DevboxError as error:
        return [("fail", f"modal: {error.what}", error.fix or f"see {STATUS}")]
    found: list[Finding] = [("ok", f"modal: workspace {workspace}", "")]
    try:
        account.app_id()
        found.append(("ok", f"modal: sandboxes go into the app {account.app_name}", ""))
    except AuthError as error:
        found.append(("fail", f"modal: {error.what}", error.fix))
    except DevboxError as error:
        found.append(("warn", f"modal: {error.what}", error.fix or "try again"))
    what = "modal: credits left: Modal's client cannot ask"
    return [*found, _spent(account), ("unknown", what, f"see {BILLING}")]


def _spent(account: Account) -> Finding:
    client = account.client()
    import modal

    workspace = modal.Workspace.from_context(client=client)
    try:
        said = account.do("asking for the bill", workspace.billing.summary.aio, _PATIENCE)
    except DevboxError as error:
        return ("unknown", f"modal: this month's cost: {error.what}", f"see {BILLING}")
    used, billed = (dollars(float(x) * 1e6) for x in (said.metered_cost, said.billed_cost))
    return ("ok", f"modal: this month {used} used, {billed} billed", "")

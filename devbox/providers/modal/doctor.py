"""Checks of the Modal account, for `devbox doctor`."""

from __future__ import annotations

from devbox.errors import AuthError, DevboxError
from devbox.providers.modal.account import Account

Check = tuple[str, str, str]
_PATIENCE = 15.0


def checks(account: Account) -> list[Check]:
    """Client, token, billing rates and app: (level ok|warn|fail, what, fix)."""
    try:
        workspace = account.workspace(_PATIENCE)
    except DevboxError as error:
        return [("fail", f"modal: {error.what}", error.fix or "see https://status.modal.com")]
    found: list[Check] = [("ok", f"modal: workspace {workspace}", "")]
    try:
        account.app_id()
        found.append(("ok", f"modal: sandboxes go into the app {account.app_name}", ""))
    except AuthError as error:
        found.append(("fail", f"modal: {error.what}", error.fix))
    except DevboxError as error:
        found.append(("warn", f"modal: {error.what}", error.fix or "try again"))
    return found

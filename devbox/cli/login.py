"""`devbox login`: what a provider needs; credentials are asked for where there are none."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from devbox import doctor, spec
from devbox.cli.common import echo, json_option, narrate, print_json, workspace
from devbox.cli.doctor import tell
from devbox.errors import AuthError, UsageError
from devbox.providers.abilities import CanLogIn
from devbox.providers.registry import NAMES
from devbox.remote import keys
from devbox.text import clean
from devbox.wire.messages import Check
from devbox.workspace import Workspace


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in NAMES if name.startswith(incomplete)]


@click.command("login")
@click.argument("provider", shell_complete=_complete)
@click.option("--again", is_flag=True, help="Ask for credentials although there are some.")
@click.option("--host", default="", metavar="TARGET", help="A machine of yours, as ssh takes it.")
@json_option
def login_command(provider: str, again: bool, host: str, as_json: bool) -> None:
    """Check the credentials, plan, keys and money that PROVIDER needs.

    Where there are no credentials yet it asks for them, without showing what
    is typed, and keeps them where the provider's own client does, once the
    provider has accepted them.

    \b
    devbox login modal
    devbox login hf-space --again
    devbox login ssh --host me@lab

    Exit code 1 when a check failed, 7 when credentials are missing or refused.
    """
    spec.settings_type(provider)  # refuses one that does not exist
    ws = workspace(quiet=as_json)
    keys.ensure_identity()  # an account may have to be told of it
    _log_in(ws, provider, again=again, ask=not as_json)
    checks = doctor.provider(ws, provider, is_used=True, host=host)
    failed = [check for check in checks if check.level == "fail"]
    if as_json:
        print_json("login", provider=provider, checks=[check._asdict() for check in checks])
    else:
        for check in checks:
            tell(check)
        echo(f"next: {_next(provider, host, failed)}", err=True)
    if failed:
        sys.exit(1)


def _log_in(ws: Workspace, name: str, *, again: bool, ask: bool) -> None:
    """Ask for credentials and keep them, where there are none or others are wanted."""
    provider = ws.provider(name)
    if not isinstance(provider, CanLogIn):
        if again:
            raise UsageError(f"{name} keeps no credentials", fix=f"devbox login {name}")
        return
    if provider.has_secrets() and not again:
        return
    wanted = provider.secrets()
    if not (ask and sys.stdin.isatty()):
        raise AuthError(
            f"there are no credentials for {name}, and no terminal to ask at",
            means="needed: " + "; ".join(wanted.needs),
            fix=f"in a terminal: devbox login {name}",
        )
    for line in wanted.needs:
        narrate(f"{name} needs {line}")
    values = [
        click.prompt(f"{label}, not shown", hide_input=True, err=True) for label in wanted.asks
    ]
    file = provider.log_in(values)
    narrate(f"accepted, and kept in {clean(file, 200)}")


def _next(provider: str, host: str, failed: list[Check]) -> str:
    if failed:
        return f"{failed[0].fix or failed[0].what}, then: devbox login {provider}"
    if spec.find(Path.cwd()):
        return "devbox up"
    target = f" --host {shlex.quote(host)}" if host else ""
    return f"devbox init --provider {provider}{target}"

"""The table of what each provider can do is what the provider classes say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devbox.providers import abilities, registry
from devbox.providers.base import Provider
from devbox.spec import settings_type

PAGE = Path(__file__).parents[2] / "docs" / "providers" / "README.md"


def _is(capability: type) -> Callable[[Provider], bool]:
    return lambda provider: isinstance(provider, capability)


FEATURES: dict[str, Callable[[Provider], bool]] = {
    "pause and resume": _is(abilities.CanPause),
    "restart, rebuild": _is(abilities.CanRestart),
    "resize": _is(abilities.CanResize),
    "renew": _is(abilities.CanRenew),
    "let a new ssh key in": _is(abilities.CanAdmit),
    "build log": _is(abilities.HasBuildLogs),
    "log of its program": _is(abilities.HasRunLogs),
    "public URLs of ports (`expose`)": _is(abilities.HasPublicPorts),
    "takes a token (`devbox login`)": _is(abilities.CanLogIn),
    "its own bill": _is(abilities.HasBill),
    "lists what is over, so that what ended unseen is counted": _is(abilities.HasHistory),
    "a service without a box (`deploy --modal`)": _is(abilities.CanHost),
    "`command` boxes": lambda provider: provider.runs_commands,
    "ends a box at `max_uptime` itself": lambda provider: provider.keeps_ceiling,
    "costs real money": lambda provider: provider.bills,
}


def test_the_table_is_what_the_classes_say(home: Path) -> None:
    providers = [registry.load(name, settings_type(name)()) for name in registry.NAMES]
    expected = [["", *(f"[`{p.name}`]({_page(p.name)})" for p in providers)]]
    for feature, has in FEATURES.items():
        expected.append([feature, *("yes" if has(p) else "" for p in providers)])
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert found[:1] + found[2:] == expected, table


def test_every_capability_of_the_contract_is_in_the_table() -> None:
    mixins = {
        kind
        for name, kind in vars(abilities).items()
        if isinstance(kind, type) and name.startswith(("Can", "Has"))
    }
    class_of = {cell.cell_contents for has in FEATURES.values() for cell in has.__closure__ or ()}
    assert class_of == mixins


def _page(name: str) -> str:
    return f"{name.split('-', maxsplit=1)[0]}.md"

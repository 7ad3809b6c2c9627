"""One registry: every action has a handler, every key reaches it, and all of it can be listed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from devbox.cli.main import GROUPS
from devbox.errors import SpecError
from devbox.tui import actions, settings
from devbox.tui.app import Dashboard
from devbox.tui.screens.help import listing
from devbox.tui.settings import Settings
from tests.tui.conftest import Open

KEYS = [(action.id, key.strip()) for action in actions.ACTIONS for key in action.keys.split(",")]
ISSUE = {
    "palette": ("colon", "ctrl+p"), "filter": ("slash",), "back": ("escape",),
    "details": ("enter", "d"), "logs": ("L",), "shell": ("s",), "editor": ("e",),
    "forward": ("f",), "down": ("j", "down"), "up_row": ("k", "up"), "mark": ("space",),
    "display": ("F",), "first": ("g",), "last": ("G",), "match_next": ("n",),
    "match_previous": ("N",), "previous_pane": ("h",), "next_pane": ("l",), "pause": ("p",),
    "refresh": ("ctrl+r",), "terminate": ("ctrl+d",), "help": ("question_mark",),
    "quit": ("q",), "sort_name": ("A",),
}  # fmt: skip


def test_ids_and_keys_are_unique_and_every_action_does_something() -> None:
    assert len(actions.BY_ID) == len(actions.ACTIONS)
    keys = [key for _, key in KEYS]
    assert len(set(keys)) == len(keys)
    for action in actions.ACTIONS:
        assert action.handler or action.pane
        if action.handler:
            inspect.signature(actions.handler(action.handler)).bind("the dashboard", *action.args)
        assert action.tooltip
        assert action.label


@pytest.mark.parametrize("action_id", ISSUE)
def test_the_keys_people_were_promised(action_id: str) -> None:
    held = actions.BY_ID[action_id].keys.split(",")
    assert set(ISSUE[action_id]) <= set(held)


async def test_every_key_reaches_its_action(
    dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    for action in actions.ACTIONS:
        noted = action._replace(handler=action.id, args=(), pane="")
        monkeypatch.setitem(actions.BY_ID, action.id, noted)
    monkeypatch.setattr(actions, "handler", lambda name: lambda _: done.append(name))
    async with dashboard() as it:
        for action_id, key in KEYS:
            done.clear()
            await it.press(key)
            assert done == [action_id], key


async def test_bindings_have_ids_and_tooltips(dashboard: Open) -> None:
    async with dashboard() as it:
        found = {
            binding.id: binding
            for _, binding in it.app._bindings
            if binding.action.startswith("do(")
        }
        assert set(found) == set(actions.BY_ID)
        assert all(binding.tooltip for binding in found.values())


async def test_the_keymap_overrides_keys_everywhere(
    dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(actions, "handler", lambda name: lambda _: done.append(name))
    async with dashboard(settings=Settings(keys={"pause": "f5"})) as it:
        await it.press("p")
        assert done == []
        await it.press("f5")
        assert done == ["boxes.pause"]
        help_ = "\n".join("".join(t for t, _ in line) for line in listing({"pause": "f5"}, "x"))
        assert re.search(r"f5 +Stop paying", help_)


def test_help_lists_every_action_and_every_state() -> None:
    text = "\n".join("".join(t for t, _ in line) for line in listing({}, "/home/me/ui.toml"))
    for action in actions.ACTIONS:
        assert action.tooltip in text
        assert f"({action.id})" in text
    for word in ("running", "paused", "failed", "lost", "/home/me/ui.toml"):
        assert word in text


def test_the_guide_lists_every_key() -> None:
    guide = (Path(__file__).parents[2] / "docs/dashboard.md").read_text()
    for action in actions.ACTIONS:
        keys = " ".join(f"`{actions.shown(key)}`" for key in action.keys.split(","))
        assert f"| {keys} | `{action.id}` | {action.tooltip} |" in guide


@pytest.mark.parametrize("view", ["fleet", *actions.PANES])
async def test_each_key_that_a_view_shows_works_in_it(
    dashboard: Open, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    done: list[str] = []
    async with dashboard(size=(200, 40)) as it:
        await it.select("train")
        if view != "fleet":
            await it.press(str(list(actions.PANES).index(view) + 1), "enter")
        shown = it.page("keys")
        listed = actions.of_view(f"{actions.SHOWN[view]} {actions.SHOWN_ALWAYS}")
        for action in listed:
            noted = action._replace(handler=action.id, args=(), pane="")
            monkeypatch.setitem(actions.BY_ID, action.id, noted)
        monkeypatch.setattr(actions, "handler", lambda name: lambda _: done.append(name))
        for action in listed:
            key = action.keys.split(",")[0]
            assert f"{actions.shown(key)} {action.label}" in shown
            done.clear()
            await it.press(key)
            assert done == [action.id]


async def test_the_bottom_line_is_of_the_view_fits_and_can_be_clicked(dashboard: Open) -> None:
    async with dashboard(size=(80, 24), settings=Settings(keys={"pause": "f5"})) as it:
        await it.select("train")
        assert "f5 Pause" in it.page("keys")
        assert it.page("keys").endswith("q Quit")
        assert "N Previous" not in it.page("keys")
        await it.press("L")
        assert "N Previous" in it.page("keys")
        assert len(it.page("keys")) <= 80
        await it.pilot.click("#keys", offset=(it.page("keys").index("? Help"), 0))
        assert it.dialog == "Help"


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[keys]\nnothing = "x"\n', "no action 'nothing'"),
        ('[keys]\npause = "u"\n', "the key u would mean both up and pause"),
        ('[keys]\npause = ""\n', "names no key"),
        ("colour = 1\n", "unknown field `colour`"),
        ("theme = 3\n", "theme"),
        ("= broken", "not valid TOML"),
    ],
)
def test_wrong_settings_say_what_is_wrong(home: Path, toml: str, said: str) -> None:
    settings.file().write_text(toml)
    with pytest.raises(SpecError, match=re.escape(said)):
        settings.load()


def test_settings_are_read_and_the_theme_is_remembered(home: Path) -> None:
    assert settings.load() == Settings()
    settings.file().write_text('# mine\ntheme = "old"\nreadonly = true\n[keys]\npause = "f5"\n')
    settings.save_theme("nord")
    assert settings.load() == Settings(theme="nord", readonly=True, keys={"pause": "f5"})
    assert "# mine" in settings.file().read_text()


async def test_an_unknown_theme_falls_back(dashboard: Open) -> None:
    async with dashboard(settings=Settings(theme="no such theme")) as it:
        assert it.app.theme == "devbox-dark"
        assert isinstance(it.app, Dashboard)


def test_each_verb_of_the_command_line_has_its_place_in_the_dashboard() -> None:
    """A new verb belongs into an action's `verbs`, into SEEN or into TYPED."""
    places: dict[str, str] = {}
    for action in actions.ACTIONS:
        key = actions.shown(action.keys.split(",")[0])
        places |= dict.fromkeys(action.verbs, f"`{key}` {action.label}")
    places |= actions.SEEN | dict.fromkeys(actions.TYPED, "`!` only")
    verbs = [verb for group in GROUPS.values() for verb in group]
    assert sorted(places) == sorted(verbs)
    guide = (Path(__file__).parents[2] / "docs/dashboard.md").read_text()
    for verb in verbs:
        assert f"| `{verb}` | {places[verb]} |" in guide

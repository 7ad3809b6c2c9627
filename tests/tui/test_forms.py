"""Forms: errors beside their fields, files chosen from a list, new boxes written to devbox.toml."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Button, Input, OptionList

from devbox import spec
from devbox.tui.screens.fields import Fields
from devbox.tui.screens.pick import entries
from tests.tui import fakes
from tests.tui.conftest import Open
from tests.tui.driver import Driven


async def _form(it: Driven, job: str) -> None:
    await it.select("train")
    await it.press("r")
    await it.until(lambda: it.dialog == "Choose")
    await it.choose(job)
    await it.until(lambda: it.dialog == "Form")


async def test_own_jobs_come_first_and_services_are_called_so(dashboard: Open, home: Path) -> None:
    (home / "devbox.toml").write_text(
        '[jobs.zz]\ncommand = ["true"]\n[services.web]\ncommand = ["serve"]\n'
    )
    async with dashboard() as it:
        await it.select("train")
        await it.press("r")
        await it.until(lambda: it.dialog == "Choose")
        rows = [str(one.prompt) for one in it.app.screen.query_one(OptionList).options]
        assert [row.split()[0] for row in rows[:2]] == ["zz", "web"]
        assert "service" in rows[1]
        assert all("(bundled)" in row for row in rows[2:-1])
        await it.choose("web")
        await it.until(lambda: it.dialog == "Form")
        it.app.screen.query_one("#start", Button).press()
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [("serve", "web", "--box", "demo/train", "--detach", "--")]
        await it.until(lambda: it.app.pane == "services")


async def test_an_error_stands_beside_its_field_at_80_columns(dashboard: Open, home: Path) -> None:
    (home / "clip.mp4").write_bytes(b"x")
    async with dashboard(size=(80, 24)) as it:
        await _form(it, "track ")
        fields = it.app.screen.query_one(Fields)
        fields.all["video"].set_text("clip.mp4")  # of the project's folder
        fields.all["min_size"].set_text("12x")
        start = it.app.screen.query_one("#start", Button)
        start.press()
        await it.until(lambda: "takes a whole number" in it.text)
        lines = it.text.splitlines()
        (wrong,) = (n for n, line in enumerate(lines) if "takes a whole number" in line)
        assert "12x" in lines[wrong - 1]  # right below what was typed
        assert "min_size" in lines[wrong - 2]
        assert fields.focused is fields.all["min_size"]
        fields.all["min_size"].set_text("12")
        start.press()
        await it.until(lambda: it.operations.begun)
        assert f"--video={home / 'clip.mp4'}" in it.operations.begun[0]


async def test_a_path_is_chosen_from_the_files_that_are_there(dashboard: Open, home: Path) -> None:
    (home / "clips" / "day 1").mkdir(parents=True)
    (home / "clips" / "day 1" / "a.mp4").write_bytes(b"x")
    (home / "clips" / "b.mp4").write_bytes(b"x")
    async with dashboard(size=(80, 24)) as it:
        await _form(it, "track ")
        await it.press("ctrl+o")
        await it.until(lambda: it.dialog == "Pick" and "clips/" in it.text)
        await it.type("cl")
        await it.press("enter")
        await it.until(lambda: "b.mp4" in it.text)
        await it.press("tab", "enter")
        await it.until(lambda: "a.mp4" in it.text)
        await it.press("h")  # and back to the folder above
        await it.until(lambda: "b.mp4" in it.text)
        await it.press("j", "enter")
        await it.until(lambda: it.dialog == "Form")
        field = it.app.screen.query_one("#f-video", Input)
        assert field.value == "clips/b.mp4"
        assert field.has_focus


def test_folders_come_first_and_hidden_files_when_asked_for(tmp_path: Path) -> None:
    for name in ("b.txt", ".hidden", "Bee"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    assert entries(tmp_path, "") == ["sub/", "b.txt", "Bee"]
    assert entries(tmp_path, "B") == ["b.txt", "Bee"]
    assert entries(tmp_path, ".") == [".hidden"]


async def test_a_new_box_is_written_and_offered_with_its_price(dashboard: Open, home: Path) -> None:
    file = home / "devbox.toml"
    file.write_text("# mine\n[boxes.old]  # stays\n")
    async with dashboard(size=(80, 24), boxes=[]) as it:
        await it.press("b")
        await it.until(lambda: it.dialog == "NewBoxForm")
        await it.until(lambda: "asking" not in it.text)
        fields = it.app.screen.query_one(Fields)
        start = it.app.screen.query_one("#start", Button)
        fields.all["name"].set_text("old")
        start.press()
        await it.until(lambda: "has a box old already" in it.text)
        fields.all["name"].set_text("fast")
        fields.all["gpu"].set_text("L40S")
        start.press()
        await it.until(lambda: it.dialog == "Up")
        text = file.read_text()
        assert text.startswith("# mine\n[boxes.old]  # stays\n")
        made = spec.parse(text, file).boxes["fast"]
        assert made.gpu == "L40S"
        assert (made.provider, it.operations.begun) == (it.asks.providers()[0], [])
        await it.until(lambda: "$0.59/h" in it.text)


async def test_up_without_a_box_begins_with_a_new_one(dashboard: Open, home: Path) -> None:
    async with dashboard(feed=fakes.FakeFeed(), boxes=[], size=(100, 40)) as it:
        await it.press("u")
        await it.until(lambda: it.dialog == "NewBoxForm")
        await it.until(lambda: "asking" not in it.text)
        it.app.screen.query_one("#start", Button).press()
        await it.until(lambda: it.dialog == "Up")
        assert list(spec.load(home / "devbox.toml").boxes) == ["dev"]
        await it.until(lambda: "t4" in it.text)
        await it.press("enter", "enter")
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [("up", "dev", "--yes")]

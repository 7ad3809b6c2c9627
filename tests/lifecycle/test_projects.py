"""Two projects whose boxes have one name: no verb acts on the other's box or mixes their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import Conflict, NotFound
from devbox.jobs import catalogue, fetch, submit
from devbox.model import BoxState
from devbox.remote.connection import connect
from devbox.sync import rsync
from devbox.workspace import Workspace
from tests.command_line import Devbox


def a_project(home: Path, name: str) -> Workspace:
    folder = home / name
    folder.mkdir()
    (folder / "devbox.toml").write_text("[boxes.dev]\n")
    (folder / f"of_{name}.txt").write_text(name)
    return Workspace.open(folder)


@pytest.fixture
def both(home: Path) -> Iterator[tuple[Workspace, Workspace]]:
    """Projects one and two, each with [boxes.dev]; the first one's is up."""
    one, two = a_project(home, "one"), a_project(home, "two")
    lifecycle.up(one, "dev")
    yield one, two
    for box in one.store.boxes.all():
        lifecycle.down(one, box, save=False)
    one.store.close()
    two.store.close()


def test_up_in_a_second_project_makes_its_own_box(both: tuple[Workspace, Workspace]) -> None:
    one, two = both
    with pytest.raises(Conflict, match=r"a box of project one \("):
        two.box("dev")
    made = lifecycle.up(two, "dev")
    first = one.box("dev")
    assert (first.root, made.root) == (str(one.spec.root), str(two.spec.root))
    assert first.handle != made.handle
    assert (first.alias, made.alias) == ("devbox-dev", "devbox-two-dev")
    for ws, box, mark in ((one, first, "of_one.txt"), (two, made, "of_two.txt")):
        rsync.up(ws, box)
        with connect(box) as connection:
            assert connection.run(["ls", "work"]).out.split() == ["devbox.toml", mark]
    lifecycle.down(two, two.box("dev"), save=False)
    assert one.box("dev").state is BoxState.RUNNING


def test_another_projects_box_is_served_from_its_own_folder(
    both: tuple[Workspace, Workspace],
) -> None:
    one, two = both
    (Path(one.spec.root) / "devbox.toml").write_text('[boxes.dev]\nsync.down = ["made.txt"]\n')
    theirs = two.box("one/dev")
    rsync.up(two, theirs)
    with connect(theirs) as connection:
        assert connection.run(["ls", "work"]).out.split() == ["devbox.toml", "of_one.txt"]
        connection.run(["sh", "-c", "echo new > work/made.txt"])
    rsync.down(two, theirs)
    assert (Path(one.spec.root) / "made.txt").read_text() == "new\n"
    assert not (Path(two.spec.root) / "made.txt").exists()
    run = submit.submit(two, theirs, catalogue.ad_hoc_command(["true"]), {}, {})
    assert fetch.default_folder(two, run).parent == Path(one.spec.root) / "results"
    assert lifecycle.up(two, "one/dev").id == theirs.id
    lifecycle.down(two, theirs, save=False)
    with pytest.raises(NotFound, match="one/dev is terminated") as caught:
        lifecycle.up(two, "one/dev")
    assert f"cd {one.spec.root}" in caught.value.fix


def test_the_command_line_names_the_project(
    both: tuple[Workspace, Workspace], devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = both
    monkeypatch.chdir(two.spec.root)
    for verb in (["down", "-y", "dev"], ["pause", "dev"], ["status", "dev"], ["exec", "dev", "id"],
                 ["sync", "up", "dev"], ["resume", "dev"], ["keep", "dev", "1h"]):  # fmt: skip
        refused = devbox(*verb)
        assert (refused.code, "one/dev" in refused.err) == (5, True), (verb, refused)
    other = devbox("deploy", "one/dev")
    assert (other.code, f"cd {one.spec.root} && devbox deploy dev" in other.err) == (5, True), other
    assert one.box("dev").state is BoxState.RUNNING
    assert devbox("status", "one/dev").out.count(f"one in {one.spec.root}") == 1
    assert "one/dev" not in devbox("ls").out
    lifecycle.up(two, "dev")
    listed = devbox("ls").out
    assert "one/dev" in listed
    assert "two/dev" in listed
    lifecycle.down(two, two.box("dev"), save=False)

"""What is told when a project is sent before something runs on its box."""

from __future__ import annotations

from devbox.sync import before
from devbox.sync.compare import IN_THE_WAY
from tests.sync.conftest import Pair, write


def test_each_file_that_was_left_is_told_with_its_reason_and_what_helps(pair: Pair) -> None:
    write(pair.here / "devbox.toml", 'project = "project"\n[boxes.b]\n')
    write(pair.here / "a.txt", "old", age=50)
    write(pair.here / "c.txt", "old", age=50)
    before.send(pair.ws, pair.box)
    for name in ("a.txt", "c.txt"):
        write(pair.here / name, "mine", age=20)
        write(pair.there / name, "theirs")
    write(pair.here / "model", "a file")
    write(pair.there / "model" / "part-1", "theirs")
    del pair.said[:]
    before.send(pair.ws, pair.box)
    assert pair.said[-4:] == [
        "b: newer there, and left as it is: a.txt, c.txt",
        "  fetch: devbox sync down b; replace: devbox sync up --force --path a.txt --path c.txt b",
        f"b: not sent: model ({IN_THE_WAY})",
        "  rename it here, or on the box: devbox ssh b",
    ]


def test_only_what_is_in_the_way_names_no_force(pair: Pair) -> None:
    write(pair.here / "devbox.toml", 'project = "project"\n[boxes.b]\n')
    for number in range(7):
        write(pair.here / f"model-{number}", "a file")
        write(pair.there / f"model-{number}" / "part-1", "theirs")
    before.send(pair.ws, pair.box)
    assert any("model-4 and 2 more (" in said for said in pair.said)
    assert not any("--force" in said or "newer" in said for said in pair.said)

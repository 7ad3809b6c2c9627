"""Names and boxes that mean harm: nothing is run, nothing escapes, nothing is mangled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from devbox import spec
from devbox.box.files.named import remove
from devbox.errors import SyncError, UsageError
from devbox.ignore.rules import Rules
from devbox.sync import remote, rsync
from devbox.sync import target as place
from devbox.sync.status import status
from tests.boxes import MakeBox
from tests.sync.conftest import MakePair, Pair, files, write

NAMES = [
    b"new\nline", b"tab\there", b"car\rriage", b"quote'single", b'quote"double', b"back\\slash",
    b"-oProxyCommand=touch pwned", b"--delete", b"-e sh", b"$(touch pwned)", b"`touch pwned`",
    b"; touch pwned", b"a b  c ", b" lead", b"#hash", b";semi", b"!bang", b"+ plus", b"- minus",
    b"*star", b"[a-z]", b"?what", b"\\#012", b"\\#101", b"uni\xc3\xa9\xe2\x98\x83", b"bad\xff\xfe",
    b"\x1b[31mred\x1b[0m", b"\xe2\x80\xaertl", b"colon:name", b"host::module", b"rsync:__x", b"~",
    b"~root", b"@%i@9@fake", b" is newer", b"x is newer", b"*deleting   x", b"%n", b"\x7f", b"\x01",
]  # fmt: skip


def _make(folder: Path) -> dict[bytes, bytes]:
    top = os.fsencode(folder)
    os.makedirs(top, exist_ok=True)
    for number, name in enumerate(NAMES):
        with open(os.path.join(top, name), "wb") as stream:
            stream.write(b"%d" % number)
        inner = os.path.join(top, b"in", name)
        os.makedirs(inner)
        with open(os.path.join(inner, name), "wb") as stream:
            stream.write(b"in %d" % number)
    return _read(folder)


def _read(folder: Path) -> dict[bytes, bytes]:
    top = os.fsencode(folder)
    found: dict[bytes, bytes] = {}
    for at, _, names in os.walk(top):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, top)] = stream.read()
    return found


@pytest.mark.parametrize("direction", ["up", "down"])
def test_every_name_arrives_as_it_is(pair: Pair, direction: str) -> None:
    source, target = (pair.here, pair.there) if direction == "up" else (pair.there, pair.here)
    sync = pair.up if direction == "up" else pair.down
    made = _make(source)
    report = sync()
    assert _read(target) == made
    assert len(report.moved) == len(made) == 2 * len(NAMES)
    for name in report.moved:
        assert name.isprintable() or "␤" in name
        json.dumps(name).encode()
    assert sync().moved == ()
    assert status(pair.ws, pair.box).in_step
    for path in made:
        os.unlink(os.path.join(os.fsencode(source), path))
    assert len(sync(delete=True, approve=lambda _: True).deleted) == len(made)
    assert _read(target) == {}


def test_chosen_paths_with_hostile_names(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pair.here)
    _make(pair.here)
    for name in (b"-oProxyCommand=touch pwned", b"new\nline", b"bad\xff\xfe", b"$(touch pwned)"):
        pair.up(paths=(os.fsdecode(name),))
        assert (pair.there / os.fsdecode(name)).exists()
    for bad in ("../x", "/etc/passwd", "a\0b", "in/../../x", ""):
        with pytest.raises((UsageError, SyncError)):
            pair.up(paths=(bad or "..",))
    assert not list(pair.here.glob("pwned")) + list(pair.there.glob("pwned"))


@pytest.mark.parametrize(
    "folder", ["a b", "it's", 'q"q', "$(touch pwned)", "uni-é", "a/b c/d", "-x"]
)
def test_hostile_folders_on_the_box(make_pair: MakePair, folder: str) -> None:
    pair = make_pair(remote=f"./{folder}" if folder == "-x" else folder)
    write(pair.here / "a.txt", "a")
    pair.up()
    there = pair.there / folder
    assert files(there) == {"a.txt": "a"}
    write(there / "b.txt", "b")
    assert pair.down().moved == ("b.txt",)
    assert not list(pair.there.parent.rglob("pwned"))


def test_a_local_folder_and_devbox_home_with_blanks_and_quotes(
    home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("DEVBOX_HOME", str(home / "dev box's"))
    pair: Pair = request.getfixturevalue("make_pair")(path="my project: it's")
    root = pair.here / "my project: it's"
    write(root / "a.txt", "a")
    pair.up()
    assert files(pair.there) == {"a.txt": "a"}
    write(pair.there / "b.txt", "b")
    assert pair.down().moved == ("b.txt",)
    assert (root / "b.txt").read_text() == "b"


def test_links_out_of_the_tree_do_not_come_down(pair: Pair, home: Path) -> None:
    secret = write(home / "secret.txt", "mine")
    pair.there.mkdir(exist_ok=True)
    (pair.there / "absolute").symlink_to(secret)
    (pair.there / "escape").symlink_to("../../secret.txt")
    (pair.there / "folder").symlink_to("/")
    (pair.there / "fine").symlink_to("real.txt")
    write(pair.there / "real.txt", "r")
    pair.down()
    assert files(pair.here) == {"fine": "-> real.txt", "real.txt": "r"}


def test_a_box_cannot_write_through_a_link_of_mine(pair: Pair, home: Path) -> None:
    outside = home / "outside"
    write(outside / "keep.txt", "mine")
    (pair.here / "data").symlink_to(outside)
    pair.up()
    (pair.there / "data").unlink()
    write(pair.there / "data/keep.txt", "theirs")
    write(pair.there / "data/new.txt", "theirs")
    report = pair.down()
    assert {kept.path for kept in report.kept} == {"data/keep.txt", "data/new.txt"}
    assert files(outside) == {"keep.txt": "mine"}
    assert (pair.here / "data").is_symlink()


def test_deleting_here_never_follows_a_link(home: Path) -> None:
    outside = write(home / "outside/a.txt", "mine").parent
    root = home / "root"
    write(root / "real/a.txt", "a")
    (root / "link").symlink_to(outside)
    names = [b"link/a.txt", b"../outside/a.txt", b"real/a.txt"]
    assert remove(os.fsencode(root), names) == ([b"real/a.txt"], [])
    assert (outside / "a.txt").exists()


def test_modes_from_the_box_never_include_setuid(pair: Pair) -> None:
    file = write(pair.there / "tool", "x")
    file.chmod(0o6755)
    write(pair.there / "closed/a", "x").chmod(0o400)
    (pair.there / "closed").chmod(0o500)
    pair.down()
    assert (pair.here / "tool").stat().st_mode & 0o7777 == 0o755
    assert (pair.here / "closed").stat().st_mode & 0o700 == 0o700


_LIES = [
    b"f 1 2 ../x", b"f 1 2 /etc/passwd", b"f 1 2 a/../b", b"f 1 2 ", b"f 1 2 a//b", b"d 1 2 a",
    b"f -1 2 a", b"f 1 x a", b"f 99999999999999999999 2 a", b"garbage", b"f 1 2 ./a", b"",
    b"f 1 2 " + b"a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("record", _LIES)
def test_a_lying_list_of_files_is_refused(record: bytes) -> None:
    with pytest.raises(SyncError, match="cannot be"):
        remote.parse(record + b'\0{"now": 1}')


@pytest.mark.parametrize(
    "end", [b"", b"now 1", b"{}", b'{"now": -1}', b'{"now": 1.5}', b'{"now": 1, "outside": {}}']
)
def test_a_list_must_end_as_one(end: bytes) -> None:
    with pytest.raises(SyncError, match="could not be read"):
        remote.parse(b"f 1 2 a\0" + end)


@pytest.mark.parametrize("end", [b'{"now": 1}', b'{"now": 1, "more": true}'])
def test_a_list_that_is_too_long_is_refused(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_FILES", 2 if b"more" not in end else 3)
    with pytest.raises(SyncError, match="more than"):
        remote.parse(b"f 1 1 a\0f 1 1 b\0f 1 1 c\0" + end)


def test_a_box_with_too_many_files_is_not_surveyed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_FILES", 2)
    for name in "abc":
        write(pair.there / name, name)
    write(pair.there.parent / "outside.txt", "o")
    with pytest.raises(SyncError, match="more than 2 files"):
        remote.survey(pair.box, str(pair.there), Rules(()))


def test_a_box_that_does_not_say_what_lies_outside_is_refused(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote.Asking, "answer", lambda *_: b'{"now": 1}')
    with pytest.raises(SyncError, match="did not say"):
        remote.survey(pair.box, str(pair.there), Rules(()))


def test_a_box_of_another_project_is_not_synced_from_here(
    pair: Pair, make_local_box: MakeBox
) -> None:
    stranger = msgspec.structs.replace(pair.box, project="elsewhere")
    with pytest.raises(UsageError, match="belongs to project"):
        rsync.up(pair.ws, stranger)
    assert place.find(pair.ws, pair.box).sync == spec.Sync()

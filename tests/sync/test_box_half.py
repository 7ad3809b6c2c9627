"""The box half does what a sync asks of a box, and is put there where it is missing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from devbox.errors import SshError, SyncError
from devbox.ignore.rules import Rules
from devbox.model import Box
from devbox.remote import agent_bootstrap
from devbox.remote.exec import Program
from devbox.sync import remote
from devbox.wire import files
from tests.sync.conftest import Pair, write

NOTHING = Rules(())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The script of each program that is started on a box."""
    scripts: list[str] = []

    class Noted(Program):
        def __init__(self, box: Box, argv: Sequence[str]) -> None:
            scripts.append(argv[2])
            super().__init__(box, argv)

    monkeypatch.setattr(remote, "Program", Noted)
    return scripts


def _half(pair: Pair) -> Path:
    return pair.there.parent / agent_bootstrap.FOLDER


def test_the_first_question_puts_it_there_and_later_ones_take_one_trip(
    pair: Pair, started: list[str]
) -> None:
    write(pair.there / "a.txt", "a")
    assert set(remote.list_files(pair.box, "work", NOTHING).files) == {b"a.txt"}
    assert started == [agent_bootstrap._START, agent_bootstrap._SCRIPT]
    assert set(remote.look(pair.box, "work", [b"a.txt"])) == {b"a.txt"}
    assert started[2:] == [agent_bootstrap._START]
    assert (_half(pair) / agent_bootstrap.build().name).is_file()


def test_an_early_question_to_a_box_with_another_version_is_answered(
    pair: Pair, started: list[str]
) -> None:
    write(pair.there / "a.txt", "a")
    remote.list_files(pair.box, "work", NOTHING)
    name = agent_bootstrap.build().stem
    for ending in (".pyz", ".d"):
        (_half(pair) / (name + ending)).rename(_half(pair) / f"devbox-box-other{ending}")
    early = remote.Asking(pair.box, "look")
    assert set(remote.look(pair.box, "work", [b"a.txt"], early)) == {b"a.txt"}
    assert started[2:] == [agent_bootstrap._START, agent_bootstrap._SCRIPT]
    assert (_half(pair) / "devbox-box-other.pyz").is_file()


def test_it_answers_from_the_archive_where_it_cannot_be_unpacked(
    pair: Pair, started: list[str]
) -> None:
    _half(pair).mkdir(exist_ok=True)
    program = Path(shutil.copy(agent_bootstrap.build(), _half(pair)))
    program.with_suffix(".d").write_text("in the way")
    assert remote.list_files(pair.box, "work", NOTHING).files == {}
    assert started == [agent_bootstrap._START]


def test_a_box_that_takes_no_program_says_so(pair: Pair) -> None:
    shutil.rmtree(_half(pair))
    write(_half(pair), "in the way")
    with pytest.raises(
        SshError, match=r"devbox's own program could not be put on b: .*mkdir"
    ) as raised:
        remote.list_files(pair.box, "work", NOTHING)
    assert raised.value.means == "nothing was changed there"


def test_a_request_that_the_box_half_cannot_read_is_refused_with_its_place(pair: Pair) -> None:
    with pytest.raises(SyncError, match="the request root is missing"):
        remote.Asking(pair.box, "look").answer(files.Deleted(()))


def test_what_lies_beside_the_synced_folder_of_an_absolute_workdir_is_told(pair: Pair) -> None:
    box = msgspec.structs.replace(pair.box, workdir=str(pair.there))
    write(pair.there / "in" / "a.txt", "a")
    write(pair.there / "beside.bin", "bb")
    listing, outside = remote.survey(box, str(pair.there / "in"), NOTHING)
    assert str(pair.there / "beside.bin").encode() in listing.largest
    assert outside.files >= 1

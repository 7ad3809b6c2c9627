"""One stream over many connections: its lines, its waits and what ends it, without any."""

from __future__ import annotations

import pytest

from devbox.errors import HostKeyRefused, KeyRefused, NameUnknown, SshError
from devbox.remote.exec import Lines
from devbox.remote.stream import Attempts
from devbox.wire.codec import MAX_LINE
from tests.remote.sshd import make_box

BOX = make_box("one")
NO_NAME = "ssh: Could not resolve hostname devbox-one: x"


def test_every_cut_of_the_bytes_gives_the_same_lines() -> None:
    data = b"one\n\ntwo \xff\nthree\nrest"
    for cut in range(len(data)):
        lines = Lines()
        assert [*lines.feed(data[:cut]), *lines.feed(data[cut:])] == [
            b"one", b"", b"two \xff", b"three",
        ]  # fmt: skip


def test_an_endless_line_is_skipped_not_kept() -> None:
    lines = Lines()
    for _ in range(200):
        assert lines.feed(b"x" * 65536) == []
        assert len(lines._rest) <= MAX_LINE + 65536
    assert lines.feed(b"tail of it\nfresh\n") == [b"fresh"]


def test_waits_grow_and_a_connection_that_worked_resets_them() -> None:
    tries = Attempts()
    waits = [tries.ended(BOX, 255, "", heard=False, lasted=60.0) for _ in range(9)]
    assert waits == [0, 0.5, 1, 2, 4, 8, 15, 15, 15]
    # it had worked: perhaps a passing fault
    assert tries.ended(BOX, 255, "Permission denied", heard=True, lasted=60.0) == 0
    assert tries.failures == 1


def test_a_box_that_hangs_up_after_each_word_is_not_asked_without_a_pause() -> None:
    tries = Attempts()
    waits = [tries.ended(BOX, 0, "", heard=True, lasted=0.1) for _ in range(8)]
    assert waits == [0, 0.5, 1, 2, 4, 8, 15, 15]


@pytest.mark.parametrize(
    ("code", "err", "kind", "what"),
    [
        (255, "me@x: Permission denied (publickey).", KeyRefused, "does not accept the key"),
        (255, "Host key verification failed.", HostKeyRefused, "the pinned host key"),
        (255, NO_NAME, NameUnknown, "address of box one is not known"),
        (2, "python3: can't open file '.devbox-box/devbox-box.pyz'", SshError, "does not run"),
        (127, "sh: python3: not found", SshError, "does not run"),
    ],
)
def test_what_trying_again_cannot_help_is_raised(
    code: int, err: str, kind: type[SshError], what: str
) -> None:
    with pytest.raises(SshError, match=what) as caught:
        Attempts().ended(BOX, code, err + "\x1b[31m", heard=False, lasted=0.1)
    assert type(caught.value) is kind
    assert "\x1b" not in caught.value.what


@pytest.mark.parametrize("code", [None, 0, 255, -9, 143])
def test_other_ends_are_cuts(code: int | None) -> None:
    assert Attempts().ended(BOX, code, "Connection reset by peer", heard=False, lasted=0.1) == 0


def test_a_name_that_is_lost_with_the_network_is_tried_again() -> None:
    tries = Attempts()
    tries.ended(BOX, 255, "", heard=True, lasted=60.0)
    assert tries.ended(BOX, 255, NO_NAME, heard=False, lasted=0.1) == 0.5

"""What people type is valid or refused with a clear error; nothing in between."""

from __future__ import annotations

import re

import pytest

from devbox import names
from devbox.errors import UsageError
from tests.core.hostile import ALL


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_hostile_text_is_never_a_name_a_host_a_user_or_a_variable(text: str) -> None:
    for rule in (names.name, names.user, names.env_name, names.host):
        try:
            accepted = rule(text)
        except UsageError as error:
            assert len(error.render()) < 400
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", error.render())
        else:
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._:-]*", accepted, re.ASCII)


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_hostile_paths_stay_inside_or_are_refused(text: str) -> None:
    try:
        accepted = names.inner_path(text)
    except UsageError as error:
        assert len(error.render()) < 500
        return
    assert not accepted.startswith(("/", "-", "~"))
    assert ".." not in accepted.split("/")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", accepted)
    assert ":" not in accepted.split("/")[0]


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_hostile_ports_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        names.port(text)


@pytest.mark.parametrize("good", ["a", "train", "my-box-2", "a" * 40])
def test_ordinary_names_pass(good: str) -> None:
    assert names.name(good) == good


@pytest.mark.parametrize(
    ("given", "kept"), [("work", "work"), ("~/w x", "w x"), ("/data/x", "/data/x"), (".", ".")]
)
def test_ordinary_remote_paths_pass(given: str, kept: str) -> None:
    assert names.remote_path(given) == kept


@pytest.mark.parametrize("good", [1, 22, "65535"])
def test_ports_pass(good: int | str) -> None:
    assert names.port(good) == int(good)

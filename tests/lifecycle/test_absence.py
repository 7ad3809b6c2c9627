"""Absence is a proof only when who made the box says it: the question of who answers, alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from devbox.errors import AuthError, Unavailable, WrongPlace
from devbox.lifecycle import absence
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.operation import BoxOperation
from devbox.model import UNREADABLE, Box, BoxState, Connection
from devbox.providers.base import Observation
from devbox.state.lookup import Here
from tests.core.test_state import a_box

MADE = Connection({"endpoint": "https://hub.test", "environment": "lab"}, "ada")


def an_operation(
    box: Box, answers: str | Exception = "ada", seen: Observation | Exception | None = None
) -> BoxOperation:
    """On a box whose provider's account is `answers`, and which it shows as `seen`."""

    def told(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    provider = SimpleNamespace(
        identity=lambda: told(answers),
        observe=lambda handle: told(seen),
        find=lambda token: told(seen) or [],
        go_back="log in as {}",
        create_lag=60.0,
        find_lag=30.0,
    )
    ws = SimpleNamespace(
        here=Here("/here", "here"), clock=lambda: 1000.0, connection=lambda name: MADE
    )
    op = SimpleNamespace(box=box, provider=provider, ws=ws, retried=lambda call: call())
    return cast(BoxOperation, op)


def made(identity: str, **more: object) -> Box:
    return a_box("b", connection=Connection(MADE.settings, identity), handle="h", **more)


@pytest.mark.parametrize(
    ("box", "answers"),
    [
        (made("ada"), "ada"),
        (made(""), "grace"),
        (made(UNREADABLE), ""),
        (a_box("b", root="/here", project="here"), "grace"),
    ],
)
def test_who_made_it_may_say_that_it_is_gone(box: Box, answers: str) -> None:
    op = an_operation(box, answers)
    assert absence.ask(op) == Answer(None, 1000.0)
    assert absence.find(op) == []


@pytest.mark.parametrize(
    ("box", "answers", "said"),
    [
        (made("ada"), "grace", "was made at ada at local https://hub.test (environment lab), but "
                               "grace at local"),
        (made("ada"), "", "but nobody at local https://hub.test"),
        (made(UNREADABLE), "ada", "but ada at local"),
        (a_box("b", root="/there", project="there"), "ada", "was made in project there"),
    ],
)  # fmt: skip
def test_nobody_else_may(box: Box, answers: str, said: str) -> None:
    op = an_operation(box, answers)
    for question in (absence.ask, absence.find, absence.check_before_end):
        with pytest.raises(WrongPlace) as caught:
            question(op)
        assert said in caught.value.what
        assert caught.value.means.startswith("nothing was changed")


def test_a_login_that_was_refused_is_another_account_s_where_one_answers() -> None:
    with pytest.raises(AuthError, match="no right"):
        absence.ask(an_operation(made("ada"), "ada", AuthError("no right")))
    with pytest.raises(WrongPlace, match="but grace at local"):
        absence.ask(an_operation(made("ada"), "grace", AuthError("no right")))


def test_a_provider_that_cannot_be_asked_now_stops_no_end() -> None:
    absence.check_before_end(
        an_operation(made("ada"), Unavailable("silent"), Unavailable("silent"))
    )
    no_handle = a_box("b", connection=MADE)
    absence.check_before_end(an_operation(no_handle, "ada"))
    with pytest.raises(WrongPlace, match="but grace at local"):
        absence.check_before_end(an_operation(no_handle, "grace"))


def test_where_a_box_lives_is_learned_once() -> None:
    assert absence.learned(an_operation(made("ada"), "grace")) == MADE
    assert absence.learned(an_operation(made(UNREADABLE), "grace")) == Connection(
        MADE.settings, "grace"
    )
    old = a_box("b")
    assert absence.learned(an_operation(old, "grace")) == Connection(MADE.settings, "grace")
    assert absence.learned(an_operation(old, Unavailable("silent"))) is None


@pytest.mark.parametrize(
    ("unanswered", "left"),
    [(None, 0.0), (1000.0, 90.0), (950.0, 40.0), (900.0, 0.0), (1500.0, 90.0)],
)
def test_a_create_without_an_answer_may_show_itself_for_a_while(
    unanswered: float | None, left: float
) -> None:
    box = a_box("b", state=BoxState.PROVISIONING, unanswered=unanswered)
    assert absence.unsettled(an_operation(box)) == left

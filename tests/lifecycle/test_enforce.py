"""Budgets kept from this computer, on real local boxes that cost a dollar a second."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, paths, spec
from devbox.errors import BudgetError, DevboxError
from devbox.lifecycle.enforce import enforce
from devbox.lifecycle.reconcile import reconcile
from devbox.model import Box, BoxState, Price
from devbox.money import limits
from devbox.notify import news
from devbox.remote.connection import connect
from devbox.state.store import Store
from devbox.wire.codec import decode
from devbox.wire.messages import WatchdogConfig
from devbox.workspace import Workspace
from tests.boxes import open_interval
from tests.core.test_state import a_box

USER = "[providers.local]\nprice = 3600.0\n"
Open = Callable[..., Workspace]


@pytest.fixture
def opened(home: Path) -> Iterator[Open]:
    """opened(project's TOML, user's TOML): the project as these files are now."""
    made: list[Workspace] = []

    def make(project: str = "[boxes.b]\n", user: str = "") -> Workspace:
        folder = home / "project"
        folder.mkdir(exist_ok=True)
        (folder / "devbox.toml").write_text(project)
        paths.user_config().parent.mkdir(parents=True, exist_ok=True)
        paths.user_config().write_text(USER + user)
        made.append(Workspace.open(folder))
        return made[-1]

    yield make
    ws = make()
    for box in ws.store.boxes.all():
        if box.provider == "local":
            lifecycle.down(ws, box, save=False)


def orders(box: Box) -> WatchdogConfig:
    """What the box's watchdog was told."""
    with connect(box) as connection:
        text = connection.run(["cat", ".devbox-box/config.json"]).out
    return decode(text.encode(), WatchdogConfig)


def agent(box: Box) -> int:
    with connect(box) as connection:
        return int(json.loads(connection.run(["cat", ".devbox-box/agent.json"]).out)["pid"])


def budget_events(ws: Workspace) -> list[str]:
    return [each.message for each in ws.store.events.news(0, ["budget"])]


def test_a_box_at_its_cap_is_saved_and_paused_and_that_is_told_once(opened: Open) -> None:
    ws = opened()
    box = lifecycle.up(ws, "b")
    ws = opened(user="[budget]\nmonthly = 0.5\n")
    with pytest.raises(BudgetError, match="monthly budget"):  # below what is spent already
        limits.check(ws, None, spec.BoxSpec(), Price(1), name="c")
    lines: list[str] = []
    ws.narrate = lines.append
    assert [done.kind for done in enforce(ws)] == ["told", "armed", "paused"]
    found = ws.store.boxes.get(box.id)
    assert found is not None
    assert found.state is BoxState.PAUSED
    assert enforce(ws) == []
    (told,) = budget_events(ws)
    assert told.startswith("the monthly budget (")
    assert told.endswith("at its cap: b")
    (event,) = ws.store.events.news(0, ["budget"])
    notice = news.notice(event, None)
    assert notice is not None
    assert (notice.kind, notice.command) == ("budget", "devbox budget")
    with pytest.raises(BudgetError):
        lifecycle.resume(ws, found)


def test_watchdogs_follow_a_budget_that_is_lowered_raised_and_removed(opened: Open) -> None:
    ws = opened(user="[budget]\ntotal = 1000000\n")
    box = lifecycle.up(ws, "b")
    assert orders(box).budget is None  # its max_uptime comes first
    pid = agent(box)
    ws = opened("[boxes.b]\nbudget = 20000\n", "[budget]\ntotal = 1000000\n")
    assert [done.kind for done in enforce(ws)] == ["armed"]
    money = orders(box).budget
    assert money is not None
    assert (money.name, money.price) == ("budget of box b", 3600_000_000)
    assert 19_000_000_000 < money.micro < 20_000_000_000
    assert enforce(ws) == []  # it has what it may spend
    verdict = lifecycle.idle_status(ws, box)
    assert verdict is not None
    assert verdict.cause == "budget"
    ws = opened("[boxes.b]\nbudget = 25000\n")
    assert [done.kind for done in enforce(ws)] == ["armed"]
    ws = opened()
    assert [done.kind for done in enforce(ws)] == ["armed"]
    assert orders(box).budget is None
    assert enforce(ws) == []
    assert agent(box) == pid


def test_a_box_of_another_computer_counts_once_reconcile_saw_it(opened: Open) -> None:
    ws = opened(user="[budget]\ntotal = 30000\n")
    box = lifecycle.up(ws, "b")
    assert enforce(ws) == []
    with ws.store.database.write() as connection:  # as if another computer had made it
        connection.execute("DELETE FROM boxes")
        connection.execute("DELETE FROM intervals")
    reconcile(ws, provider="local")
    (standing,) = limits.standings(ws)
    assert [each.fixed for each in standing.members] == [True]
    assert standing.committed > 28_000_000_000
    with pytest.raises(BudgetError, match="by what runs"):
        limits.check(ws, None, spec.BoxSpec(), Price(3600_000_000), name="c")
    reconcile(ws, provider="local", wanted="adopt")
    (standing,) = limits.standings(ws)
    (member,) = standing.members
    assert (member.name, member.fixed) == ("b", False)
    assert standing.spent < 1_000_000_000
    assert box.name == "b"


def test_a_crash_between_noting_and_telling_tells_it_once(home: Path) -> None:
    store = Store.open()
    with pytest.raises(TypeError):  # cut off after the key, before the event
        store.budgets.tell(["k:0.8", "k:0.5"], "", None, 1.0)  # type: ignore[arg-type]
    others = [Store.open() for _ in range(4)]
    start, found = threading.Barrier(4), []

    def tell(one: Store) -> None:
        start.wait()
        found.append(one.budgets.tell(["k:0.8", "k:0.5"], "", "80 % is spent", 2.0))

    threads = [threading.Thread(target=tell, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]
    assert len(store.events.news(0, ["budget"])) == 1
    assert not store.budgets.tell(["k:0.5"], "", "50 % is spent", 3.0)


def test_a_record_that_cannot_be_read_hides_no_budget(opened: Open) -> None:
    ws = opened(user="[budget]\ntotal = 10\n")
    for name in ("x", "y"):
        box = a_box(name, seen=ws.clock(), started=ws.clock() - 3600, root="/r", provider="ssh")
        ws.store.boxes.insert(box, "running", {}, ws.clock())
        open_interval(ws.store.ledger, box, Price(1_000_000), ws.clock() - 3600)
    with ws.store.database.write() as connection:
        connection.execute("UPDATE boxes SET body = x'00' WHERE id = 'id-x'")
    (standing,) = limits.standings(ws)
    assert [member.name for member in standing.members] == ["y"]
    assert round(standing.spent, -4) == 2_000_000


def test_two_at_once_do_not_start_more_than_there_is(opened: Open) -> None:
    opened(user="[budget]\ntotal = 40000\n")  # one box of 8 h at a dollar a second is 28800
    start, refused = threading.Barrier(2), []

    def begin(name: str) -> None:
        ws = Workspace.open(paths.home().parent / "project")
        start.wait()
        try:
            with limits.checking():
                limits.check(ws, None, spec.BoxSpec(), Price(3600_000_000), name=name)
                box = a_box(name, provider="ssh", state=BoxState.PROVISIONING)
                box = msgspec.structs.replace(box, price=Price(3600_000_000))
                ws.store.boxes.insert(box, "running", {}, ws.clock())
        except DevboxError as error:
            refused.append(error)

    threads = [threading.Thread(target=begin, args=(name,)) for name in ("x", "y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (error,) = refused
    assert isinstance(error, BudgetError)

"""The HTML report: one file, opened offline in a real browser, whatever the names in it are."""

from __future__ import annotations

from pathlib import Path

import msgspec

from devbox.model import Price, Run, RunState
from devbox.money import page, report
from devbox.money.period import Period
from devbox.spec import Budget, FixedCost, Spec
from devbox.state.store import Store
from devbox.text import clean
from tests.boxes import close_interval, open_interval
from tests.command_line import Devbox
from tests.core.test_state import HOUR, a_box
from tests.tui.browser import Browser, opened

T0 = 1_790_000_000.0
DAY = 24 * HOUR
EVIL = (
    "<script>window.owned=1</script>",
    "</script><img src=x onerror=window.owned=2>",
    '"><svg onload=window.owned=3>',
    "<!--<script>",
    "{{ 7*7 }}\u2028</table>",
    "<a href=javascript:window.owned=4>b</a>",
)


def made(config: Spec) -> report.Report:
    store = Store.open()
    for number, name in enumerate(EVIL):
        for day in range(5):
            open_interval(
                store.ledger, a_box(name, hardware=name), Price(2_000_000), T0 + day * DAY
            )
            close_interval(store.ledger, f"id-{name}", T0 + day * DAY + (9 - number) * HOUR)
        status = b'{"counts": {"done": 40}}'
        run = Run(f"run{number}", f"id-{name}", name, name, RunState.SUCCEEDED, T0, T0, T0 + HOUR)
        store.runs.put(msgspec.structs.replace(run, status=status))
    found = report.build(store, config, Period(), T0 + 6 * DAY)
    store.close()
    return found


def test_the_page_opens_offline_and_no_name_becomes_markup_or_script(home: Path) -> None:
    config = Spec(
        project="p",
        root=home,
        user_budget=Budget(daily=20.0),
        costs={EVIL[0]: FixedCost(kind="subscription", monthly=9.0)},
    )
    file = home / "cost.html"
    file.write_text(page.render(made(config)), encoding="utf-8")
    assert file.stat().st_size <= 2_000_000
    with opened() as browser:
        browser.open(f"file://{file}")
        _is_harmless(browser)
        # the charts are drawn, with a bar for each day and box, and the budget's line
        assert browser.run("return document.querySelectorAll('.chart > div > svg').length") == 3
        option = "window.charts[0].getOption()"
        names = browser.run(f"return {option}.series.map((each) => each.name)")
        assert sorted(names) == sorted(clean(name, 100) for name in EVIL)
        assert browser.run(f"return {option}.series[0].markLine.data[0].yAxis") == 20
        # a tooltip is HTML: the names in it are text
        at = "{type: 'showTip', seriesIndex: 0, dataIndex: 0}"
        browser.run(f"window.charts.forEach((chart) => chart.dispatchAction({at}))")
        assert "window.owned" in browser.run("return document.body.innerText")
        _is_harmless(browser)
        # for a screen reader: a table with a caption and heads, and the same figures
        heads = browser.run(
            "return [...document.querySelectorAll('caption')].map(c => c.innerText)"
        )
        assert heads[:2] == ["Cost by day", "Cost by box"]
        rows = browser.run(
            "return [...document.querySelectorAll('table')[1].rows].map(r => [...r.cells].map("
            "c => c.innerText))"
        )
        assert rows[1] == [EVIL[0], "1d21h", "$90.00"]
        per_item = browser.run("return [...document.querySelectorAll('table')].at(-2).innerText")
        assert "$0.05" in per_item
        assert browser.run("return performance.getEntriesByType('resource').length") == 0


def _is_harmless(browser: Browser) -> None:
    assert browser.run("return window.owned === undefined")
    assert browser.run("return document.querySelectorAll('img, a, script').length") == 3
    assert browser.run("return document.querySelectorAll('svg[onload], [onerror]').length") == 0


def test_a_script_that_came_in_would_not_run(home: Path) -> None:
    """The page's own policy is the second line: it names the two scripts it came with."""
    whole = page.render(made(Spec(project="p", root=home)))
    file = home / "cost.html"
    file.write_text(whole.replace("</main>", "<script>window.owned = 5</script></main>"))
    with opened() as browser:
        browser.open(f"file://{file}")
        assert browser.run("return window.owned === undefined && window.charts.length === 3")


def test_many_boxes_and_years_stay_one_small_page(home: Path) -> None:
    store = Store.open()
    with store.database.write() as connection:
        connection.executemany(
            "INSERT INTO intervals (box_id, box_name, provider, hardware, micro_per_hour, "
            "price_source, start, end) VALUES (?, ?, 'p', 'h', 1000000, '', ?, ?)",
            [
                (f"b{n}", f"a-box-with-a-long-name-{n}", T0 + n * 60_000, T0 + n * 60_000 + 7200)
                for n in range(3000)
            ],
        )
    found = report.build(store, Spec(project="p", root=home), Period(), T0 + 3000 * 60_000)
    assert len(found.slices) < 80
    assert [each.name for each in found.stacked][-1] == "2988 others"
    text = page.render(found)
    assert "2,500 others" in text
    assert len(text.encode()) < 1_200_000
    assert sum(line.cost for line in found.by_box) == found.total.cost == 6_000_000_000


def test_the_verb_writes_the_page_and_says_where(devbox: Devbox, project: Path) -> None:
    done = devbox("cost", "--html", "c.html")
    assert done.code == 0
    assert "nothing was billed yet" in (project / "c.html").read_text(encoding="utf-8")
    assert "wrote c.html" in done.err
    refused = devbox("cost", "--html", "no/such/c.html")
    assert refused.code == 2
    assert "cannot be written" in refused.err

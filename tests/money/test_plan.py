"""A plan never says that something fits or what it costs beyond what is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox import spec
from devbox.errors import DevboxError, SpecError, Unavailable
from devbox.jobs import catalogue
from devbox.model import Hardware, Offer, Price, Run, RunState
from devbox.money import need as needs
from devbox.money import prices
from devbox.money.sizing import Evidence
from devbox.providers import registry
from devbox.providers.local.provider import Local
from devbox.spec import Argument, BoxSpec, Bytes, JobSpec, Memory, MemoryPoint
from devbox.state.store import Store
from tests.boxes import close_interval, open_interval
from tests.command_line import Devbox
from tests.core.test_state import HOUR, a_box

GB = 1 << 30
T0 = 1_790_000_000.0
OFFERS = [
    Offer(
        "local", Hardware("l40sx1", "L40S", 1, 48 * GB, 8, 62 * GB), Price(1_800_000, "live"), T0
    ),
    Offer("local", Hardware("t4x2", "T4", 2, 32 * GB, 8, 60 * GB), Price(700_000, "live"), T0),
    Offer("local", Hardware("l4x1", "L4", 1, 24 * GB, 8, 30 * GB), Price(800_000, "live"), T0),
    Offer("local", Hardware("h9", "H9", 1, 99 * GB, 8, 99 * GB), Price(None, "unknown"), T0),
    Offer("local", Hardware("cpu", "", 0, 0, 8, 99 * GB), Price(0, "live"), T0),
]
TOML = """
[boxes.gpu]
provider = "local"
hardware = "l40sx1"
max_uptime = "4h"
[jobs.render]
command = ["python", "render.py", "{args}"]
args.frames = { type = "int", default = 32 }
args.mode = { type = "choice", choices = ["fast", "good"], default = "fast" }
inputs.clips = { patterns = ["*.mp4"] }
[jobs.render.memory]
by = "frames"
source = "measured on an L40S"
points = [{ at = 32, vram = "8GB" }, { at = 64, vram = "14GB" },
          { at = 64, vram = "30GB", where = { mode = "good" } }]
"""


@pytest.fixture
def cached(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, what every provider offered an hour ago, and no way to ask any of them."""
    (project / "devbox.toml").write_text(TOML)
    with monkeypatch.context() as once:
        once.setattr(Local, "offers", lambda self: OFFERS)
        asked = [spec.load(project / "devbox.toml").box("gpu")[1]]
        from devbox.workspace import Workspace

        ws = Workspace.open(project)
        ws.clock = lambda: T0
        prices.answers(ws, asked[0], ["local"])
    refuse(monkeypatch)
    return project


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, config: object) -> None:
        raise Unavailable(f"{name} was asked")

    monkeypatch.setattr(registry, "load", load)


def rows(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["offer"]["hardware"]["name"]: row for row in told["rows"]}


def ran(store: Store, number: int, *, seconds: float, items: int, vram: int | None,
        args: dict[str, object] | None = None, command: str = "render.py",
        hardware: str = "l4x1", state: str = "succeeded") -> None:  # fmt: skip
    at = T0 + number * 1000
    box = a_box(f"b{number}", hardware=hardware)
    open_interval(store.ledger, box, Price(800_000), at - 1)
    close_interval(store.ledger, box.id, at + HOUR)
    request = {"args": args or {"frames": 32, "mode": "fast"}, "module": "",
               "command": ["python", command, "{args}"]}  # fmt: skip
    status = {"peak": {"rss": 5 * GB, "vram": vram}, "counts": {"done": items}}
    if vram is None:
        status = {}
    store.runs.put(
        Run(f"r{number}", box.id, box.name, "render", RunState(state), at, at, at + seconds,
            request=json.dumps({"request": request}).encode(), status=json.dumps(status).encode())
    )  # fmt: skip


def test_it_answers_from_the_cache_and_says_how_old_it_is(cached: Path, devbox: Devbox) -> None:
    told = devbox("plan", "render", "--provider", "local", "--json", "--", "--frames", "33").data
    assert (told["version"], told["kind"], told["job"], told["box"]) == (1, "plan", "render", "gpu")
    assert told["need"]["vram"] == 14 * GB
    assert told["need"]["measured"] is True
    found = rows(told)
    assert {name for name, row in found.items() if not row["why_not"]} == {"l40sx1", "l4x1", "h9"}
    assert "in one GPU, 16.4 GB needed" in found["t4x2"]["why_not"]
    assert found["l4x1"]["until_max_uptime_micro"] == 3_200_000
    assert (found["l4x1"]["estimate"]["seconds"], found["l4x1"]["total_micro"]) == (None, None)
    assert found["h9"]["until_max_uptime_micro"] is None
    assert [name for name, row in found.items() if row["choice"]] == ["l40sx1"]
    said = devbox("plan", "render", "--provider", "local").out
    assert "8.0 GB VRAM measured at frames 32 (measured on an L40S)" in said
    assert "ago; --refresh asks the providers" in said
    assert "unknown" in said.split("l4x1")[1].splitlines()[0]
    again = devbox("plan", "--refresh", "--provider", "local")
    assert (again.code, "l4x1" in again.out) == (0, True), "one that fails keeps its last answer"
    never = devbox("plan", "--provider", "docker", "--json").data
    assert never["failed"] == {"docker": "docker was asked"}
    (Path.home() / ".devbox" / "cache" / "prices.json").write_bytes(b'{"x": 1')
    lost = devbox("plan", "--provider", "local", "--json").data
    assert (lost["rows"], list(lost["failed"])) == ([], ["local"])


def test_outside_of_the_measured_points_it_says_so(cached: Path, devbox: Devbox) -> None:
    words = ["plan", "render", "--provider", "local"]
    above = devbox(*words, "--", "--frames", "65", "--mode", "good").out
    assert "frames 65 is above all measured points: it needs more than that" in above
    assert "needs at least 34.0 GB VRAM" in above
    assert "whether what is listed is enough is not known" in above
    below = devbox(*words, "--", "--frames", "1").out
    assert "8.0 GB VRAM measured at frames 32" in below
    assert "frames 1 is below all measured points" in below
    between = devbox(*words, "--", "--frames", "33", "--mode", "good").out
    assert "30.0 GB VRAM measured at frames 64" in between
    assert devbox("plan", "render", "--", "--nope", "1").code == 2
    assert devbox("plan", "--", "--frames", "1").code == 2
    assert devbox("plan", "rendr").code == 4


def test_earlier_runs_tell_time_and_may_only_raise_the_need(cached: Path, devbox: Devbox) -> None:
    clips = cached / "clips"
    clips.mkdir()
    for name in ("a.mp4", "b.MP4", "c.txt", ".d.mp4"):
        (clips / name).write_bytes(b"x")
    store = Store.open()
    for number, seconds in enumerate((100.0, 300.0, 200.0)):
        ran(store, number, seconds=seconds, items=2, vram=3 * GB)
    words = ["plan", "render", "--provider", "local", "--json", "--", "--clips", str(clips)]
    told = devbox(*words).data
    found = rows(told)
    assert told["items"] == 2
    assert told["need"]["vram"] == 8 * GB, "the profile is not lowered by what ran"
    assert found["l4x1"]["estimate"] == {"seconds": 200.0, "runs": 3, "per_item": 100.0}
    assert found["l4x1"]["total_micro"] == round(800_000 * 200 / 3600)
    assert found["l40sx1"]["total_micro"] is None, "nothing ran there"
    ran(store, 3, seconds=9.0, items=2, vram=40 * GB)
    told = devbox(*words).data
    assert told["need"]["vram"] == 40 * GB
    assert [name for name, row in rows(told).items() if not row["why_not"]] == ["l40sx1", "h9"]
    ran(store, 4, seconds=9.0, items=2, vram=None)
    store.runs.put(Run("x", "b1", "b1", "render", RunState.SUCCEEDED, T0, T0, request=b"[]"))
    told = devbox(*words).data
    assert "1 of its runs told no peak" in " ".join(told["need"]["evidence"])
    assert told["need"]["vram"] == 8 * GB
    store.close()


def test_runs_of_other_arguments_or_of_another_program_are_no_evidence(
    cached: Path, devbox: Devbox
) -> None:
    store = Store.open()
    for number in range(3):
        ran(store, number, seconds=9.0, items=2, vram=40 * GB, args={"frames": 32, "mode": "good"})
        ran(store, number + 10, seconds=9.0, items=2, vram=40 * GB, command="other.py")
    store.close()
    told = devbox("plan", "render", "--provider", "local", "--items", "7", "--json").data
    assert told["need"]["vram"] == 8 * GB
    assert {row["estimate"]["seconds"] for row in told["rows"]} == {None}


def test_what_was_asked_once_stays_until_it_is_asked_again(
    project: Path, devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "devbox.toml").write_text(TOML)
    words = ["plan", "--provider", "local", "--json"]
    for offers, more, seen in (
        (OFFERS[:1], [], 1_800_000),
        (OFFERS[1:2], [], 1_800_000),
        (OFFERS[1:2], ["--refresh"], 700_000),
        (OFFERS[:1], [], 700_000),
    ):
        monkeypatch.setattr(Local, "offers", lambda self, offers=offers: offers)
        (row,) = devbox(*words, *more).data["rows"]
        assert row["offer"]["price"]["micro_per_hour"] == seen
    (project / "devbox.toml").write_text(f"{TOML}[providers.local]\nprice = 2.0\n")
    (row,) = devbox(*words).data["rows"]
    assert row["offer"]["price"]["micro_per_hour"] == 1_800_000, "other settings have no answer yet"


def test_what_up_would_take_is_marked_in_its_order(cached: Path, devbox: Devbox) -> None:
    file = cached / "devbox.toml"
    file.write_text(TOML.replace('"l40sx1"', '["t4x2", "l4x1", "h9"]'))
    told = devbox("plan", "render", "--provider", "local", "--json").data
    places = {name: row["choice"] for name, row in rows(told).items() if row["choice"]}
    assert places == {"t4x2": 1, "l4x1": 2, "h9": 3}
    said = devbox("plan", "render", "--provider", "local", "--", "--frames", "64").out
    assert "devbox up gpu takes local t4x2, which does not do: 16.0 GB VRAM in one GPU" in said
    assert "l4x1 ✓2" in said
    assert "✓2 to ✓3 are taken in turn where those before are not free" in said
    alone = devbox("plan", "--provider", "local", "--json").data
    does = {name for name, row in rows(alone).items() if not row["why_not"]}
    assert does == {"t4x2", "l4x1", "l40sx1", "h9"}, "what its hardware has is needed elsewhere too"
    file.write_text(TOML.replace('"l40sx1"', '"l50"'))
    said = devbox("plan", "--provider", "local").out
    assert "devbox up gpu takes none of them: " in said
    assert "✓" not in said


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 60)), min_size=1, max_size=6),
    st.integers(0, 60),
)
def test_the_need_is_never_below_a_measured_point_or_the_line_between_two(
    measured: list[tuple[int, int]], value: int
) -> None:
    points = tuple(MemoryPoint(at=float(x), vram=Bytes(y * GB)) for x, y in measured)
    job = JobSpec(
        name="j", command=("x",), args={"n": Argument(type="int")},
        memory=Memory(source="s", by="n", points=points),
    )  # fmt: skip
    need = needs.of_job(job, {"n": value}, BoxSpec(), Evidence("", "", ""), 0, 0)
    assert need.vram is not None
    reached = [y for x, y in measured if x <= value]
    assert need.vram >= max(reached, default=0) * GB
    above = sorted((x, y) for x, y in measured if x >= value)
    assert need.measured is bool(above)
    if above and reached:
        (x1, y1) = max((x, y) for x, y in measured if x <= value)
        (x2, y2) = above[0]
        between = y1 if x1 == x2 else y1 + (y2 - y1) * (value - x1) / (x2 - x1)
        assert need.vram >= round(between * GB)
    for offer in OFFERS:
        if not needs.why_not(need, offer):
            assert offer.hardware.vram / offer.hardware.gpus > need.vram


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('source = "s"\npoints = []', "at least one of points"),
        ('source = " "\npoints = [{ vram = "1GB" }]', "and source"),
        ('points = [{ vram = "1GB" }]', "source"),
        ('by = "nope"\nsource = "s"\npoints = [{ at = 1, vram = "1GB" }]', "names no argument"),
        (
            'by = "\\u001b[2J"\nsource = "s"\npoints = [{ at = 1, vram = "1GB" }]',
            "names no argument",
        ),
        ('by = "mode"\nsource = "s"\npoints = [{ at = 1, vram = "1GB" }]', "that is a number"),
        ('by = "n"\nsource = "s"\npoints = [{ vram = "1GB" }]', "each point needs `at`"),
        ('source = "s"\npoints = [{ at = 1, vram = "1GB" }]', "none without it"),
        ('source = "s"\npoints = [{ vram = "1GB", where = { x = 1 } }]', "no other argument"),
        ('source = "s"\npoints = [{ vram = "12" }]', "not a size"),
        ('source = "s"\npoints = [{ at = -1, vram = "1GB" }]', "at"),
    ],
)
def test_a_profile_that_says_nothing_usable_is_refused(home: Path, table: str, said: str) -> None:
    file = home / "devbox.toml"
    args = 'args.n = { type = "int" }\nargs.mode = { type = "str" }\n'
    file.write_text(f'[jobs.j]\ncommand = ["x"]\n{args}[jobs.j.memory]\n{table}\n')
    with pytest.raises(SpecError) as caught:
        spec.load(file)
    assert said in caught.value.render()
    assert "\x1b" not in caught.value.render()


def test_every_profile_that_comes_with_devbox_names_its_source_in_the_docs() -> None:
    docs = Path(__file__).parents[2] / "docs" / "systems"
    profiled = {n: j.memory for n, j in catalogue.all_jobs(spec.Spec()).items() if j.memory}
    assert list(profiled) == ["sam-body4d"]
    for name, memory in profiled.items():
        page = (docs / f"{name}.md").read_text(encoding="utf-8")
        for point in memory.points:
            assert f"| {point.vram / GB:.1f} GB |" in page, (name, point)


def test_what_is_needed_and_not_known_of_hardware_does_not_do() -> None:
    need = needs.Need(vram=GB, memory=GB, gpus=1)
    for hardware, why in (
        (Hardware("a", "NVIDIA", 1, 0, 8, 99 * GB), "its VRAM is not known"),
        (Hardware("b", "L4", 1, 24 * GB, 8, 0), "its memory is not known"),
        (Hardware("c", "L4", 1, 24 * GB, 8, 99 * GB, 5), ""),
    ):
        said = needs.why_not(need, Offer("local", hardware, Price(1), T0))
        assert said.startswith(why) if why else said == ""
    weights = msgspec.structs.replace(need, disk=6)
    small = Offer("local", Hardware("c", "L4", 1, 24 * GB, 8, 99 * GB, 5), Price(1), T0)
    assert "of weights" in needs.why_not(weights, small)
    dear = msgspec.structs.replace(need, max_price=0.5)
    assert "above max_price" in needs.why_not(dear, OFFERS[2])
    for asked, why in (
        (needs.Need(gpu="H100"), "H100 is asked for"),
        (needs.Need(gpus=2), "1 GPU, 2 needed"),
        (needs.Need(asked_memory=90 * GB), "30.0 GB memory, 90.0 GB needed"),
        (needs.Need(cpus=9), "8 CPU, 9 asked for"),
        (needs.Need(asked_vram=25 * GB), "24.0 GB VRAM, 25.0 GB asked for"),
    ):
        assert needs.why_not(asked, OFFERS[2]) == why
    assert issubclass(Unavailable, DevboxError)


NONE = Evidence("b", "local", "l4x1")


def test_without_a_measurement_a_job_needs_what_it_asks_for_and_says_so() -> None:
    asked = needs.of_job(JobSpec(vram=Bytes(9 * GB)), {}, BoxSpec(), NONE, 0, 0)
    assert (asked.gpus, asked.asked_vram, asked.vram, asked.measured) == (1, 9 * GB, None, False)
    assert asked.evidence == ("its job.toml asks for 9.0 GB VRAM, not measured",)
    nothing = needs.of_job(JobSpec(), {}, BoxSpec(max_price=2.0), NONE, 0, 7)
    assert (nothing.gpus, nothing.vram, nothing.disk, nothing.max_price) == (0, None, 7, 2.0)
    assert nothing.evidence[0].startswith("nothing measured: ")


def test_a_profile_without_a_point_for_the_arguments_measures_nothing() -> None:
    point = MemoryPoint(vram=Bytes(GB), at=8, where={"mode": "good"})
    job = JobSpec(memory=Memory(by="frames", source="a page", points=(point,)))
    for args, said in (
        ({"mode": "fast", "frames": 8}, "no measured point has mode fast (a page)"),
        ({"mode": "good", "frames": "8"}, "frames is not given, and the measured points go by it"),
    ):
        found = needs.of_job(job, args, BoxSpec(), NONE, 0, 0)
        assert (found.vram, found.measured) == (None, False)
        assert found.evidence[0].startswith(said)


def test_a_box_named_by_its_hardware_needs_at_least_that() -> None:
    named = [offer.hardware for offer in OFFERS[:3]]
    found = needs.like(needs.Need(), named)
    assert (found.gpus, found.asked_vram) == (1, 24 * GB)
    assert found.evidence == ("at least what l4x1 has: 1 GPU, 24.0 GB VRAM",)
    for need, others in (
        (needs.Need(gpu="T4"), named),
        (needs.Need(), []),
        (needs.Need(), [OFFERS[4].hardware]),
    ):
        assert needs.like(need, others) is need

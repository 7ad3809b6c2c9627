"""Words after `--` become typed arguments, or a refusal that names the argument."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox.errors import NotFound, SpecError, UsageError
from devbox.jobs import arguments, catalogue
from devbox.spec import Argument, Input, JobSpec, Spec
from tests.core.hostile import ALL

JOB = JobSpec(
    name="probe",
    summary="tries",
    module="probe",
    args={
        "lr": Argument(type="float", default=0.5, help="how fast"),
        "steps": Argument(type="int"),
        "fast": Argument(type="bool", default=False),
        "mode": Argument(type="choice", choices=("a", "b"), default="a"),
        "out_name": Argument(default="x"),
    },
    inputs={"video": Input(required=False, help="a clip")},
)


def parse(*words: str) -> dict[str, arguments.Value]:
    return arguments.parse(JOB, words).args


def test_values_have_the_declared_types() -> None:
    assert parse() == {"lr": 0.5, "steps": None, "fast": False, "mode": "a", "out_name": "x"}
    words = ("--lr", "-3e-4", "--steps=-7", "--fast", "--mode", "b", "--out-name=--lr")
    given = parse(*words)
    assert given == {"lr": -3e-4, "steps": -7, "fast": True, "mode": "b", "out_name": "--lr"}
    assert parse("--no-fast")["fast"] is parse("--fast=off")["fast"] is False
    assert parse("--out_name", "")["out_name"] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lrr", "1"], "job probe has no argument --lrr"),
        (["x"], "unexpected word 'x'"),
        (["--"], "unexpected word '--'"),
        (["--lr"], "--lr needs a value"),
        (["--lr", "--fast"], "--lr needs a value"),
        (["--lr", "1", "--lr=2"], "--lr is given twice"),
        (["--lr", "nan"], "--lr takes a number, not 'nan'"),
        (["--lr", "1e999"], "--lr takes a number, not '1e999'"),
        (["--steps", "1.5"], "--steps takes a whole number, not '1.5'"),
        (["--steps", "9" * 10_000], "--steps takes a whole number"),
        (["--fast=perhaps"], "--fast cannot be 'perhaps'"),
        (["--mode", "c"], "--mode cannot be 'c'"),
        (["--video", "/nowhere"], "--video: there is no file or folder '/nowhere'"),
        (["--video", ""], "--video: there is no file or folder"),
        (["--video", "/dev/null"], "--video: there is no file or folder '/dev/null'"),
    ],
)
def test_errors_name_the_argument(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(*words)
    assert raised.value.what.startswith(said)


def test_an_unknown_argument_gets_a_suggestion_and_the_list() -> None:
    with pytest.raises(UsageError) as raised:
        parse("--step", "1")
    assert raised.value.fix == (
        "did you mean --steps? the arguments of probe are: "
        "--video, --lr, --steps, --fast, --mode, --out-name"
    )


def test_what_is_required_must_be_given() -> None:
    job = JobSpec(name="j", module="j", inputs={"video": Input(help="a clip")})
    with pytest.raises(UsageError, match=r"job j needs --video PATH \(a clip\)"):
        arguments.parse(job, [])
    job = JobSpec(name="j", module="j", args={"n": Argument(required=True)})
    with pytest.raises(UsageError, match="job j needs --n"):
        arguments.parse(job, [])


def test_an_input_is_found_and_its_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "link").symlink_to("clip.mp4")
    (tmp_path / "loop").symlink_to("loop")
    assert arguments.parse(JOB, ["--video", str(tmp_path / "link")]).inputs == {
        "video": tmp_path / "clip.mp4"
    }
    with pytest.raises(UsageError):
        parse("--video", str(tmp_path / "loop"))


@pytest.mark.parametrize("text", ALL)
def test_hostile_values_pass_through_intact_or_are_refused(text: str) -> None:
    try:
        text.encode()
        usable = "\0" not in text
    except UnicodeEncodeError:
        usable = False
    if usable:
        assert parse(f"--out-name={text}")["out_name"] == text
        assert catalogue.ad_hoc_command(["echo", text]).command == ("echo", text)
    else:
        with pytest.raises(UsageError, match="--out-name holds"):
            parse(f"--out-name={text}")
        with pytest.raises(UsageError, match="the command holds"):
            catalogue.ad_hoc_command(["echo", text])
    for option in ("lr", "steps", "mode", "video"):
        try:
            parse(f"--{option}={text}")
        except UsageError as error:
            assert not set(error.render()) & set("\x1b\x07\x9b\u202e")
    with pytest.raises(UsageError):
        parse(f"--{text}\n")


def test_the_description_lists_everything() -> None:
    assert arguments.describe(JOB).splitlines() == [
        "probe: tries",
        "  --video PATH    a clip",
        "  --lr FLOAT      how fast [0.5]",
        "  --steps INT",
        "  --fast          [False]",
        "  --mode a|b      [a]",
        "  --out-name STR  [x]",
    ]


def test_bundled_jobs_are_well_formed_and_the_projects_hide_them() -> None:
    jobs = catalogue.all_jobs(Spec())
    assert "track" in jobs
    for job in jobs.values():
        assert job.summary
        assert arguments.describe(job)
    mine = JobSpec(command=("true",))
    assert catalogue.find(Spec(jobs={"track": mine}), "track").command == ("true",)
    with pytest.raises(NotFound, match=r"there is no job 'nope' \(jobs: .*track"):
        catalogue.find(Spec(), "nope")


def test_names_that_mean_two_things_are_refused() -> None:
    job = JobSpec(command=("x",), args={"a_b": Argument()}, inputs={"a-b": Input()})
    with pytest.raises(SpecError, match=r"\[jobs\.j\]: --a-b has two meanings"):
        catalogue.all_jobs(Spec(jobs={"j": job}))
    with pytest.raises(SpecError, match="--help"):
        catalogue.all_jobs(Spec(jobs={"j": JobSpec(command=("x",), args={"help": Argument()})}))


def test_a_default_of_another_type_is_the_authors_mistake() -> None:
    job = JobSpec(name="j", module="j", args={"n": Argument(type="int", default="x")})
    with pytest.raises(SpecError, match="the default of n is not a int"):
        arguments.parse(job, [])

"""The commands that add packages fit how devbox was installed; the layouts are those that uv 0.13
and pipx 1.18 wrote."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from devbox import installation

ROOT = Path(__file__).parents[2]


def uv(prefix: Path, requirements: str) -> None:
    prefix.mkdir(exist_ok=True)
    (prefix / "uv-receipt.toml").write_text(f"[tool]\nrequirements = [{requirements}]\n")


def test_a_uv_tool_keeps_what_it_has(tmp_path: Path) -> None:
    uv(
        tmp_path,
        '{ name = "devbox-gpu", extras = ["docker"] }, { name = "six", specifier = ">=1.17" }',
    )
    fix = installation.fix_extra("modal", tmp_path)
    assert shlex.split(fix) == [
        *("uv", "tool", "install", "devbox-gpu[docker,modal]", "--with", "six>=1.17"),
    ]


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ('path = "/d/devbox_gpu.whl"', ["devbox-gpu[ui] @ file:///d/devbox_gpu.whl"]),
        ('directory = "/d/my box"', ["devbox-gpu[ui] @ file:///d/my%20box"]),
        ('editable = "/d/devbox"', ["--editable", "/d/devbox[ui]"]),
    ],
)
def test_a_uv_tool_from_a_file_stays_of_that_file(
    tmp_path: Path, origin: str, words: list[str]
) -> None:
    uv(tmp_path, f'{{ name = "devbox-gpu", {origin} }}')
    assert shlex.split(installation.fix_extra("ui", tmp_path))[3:] == words


def test_pipx_gets_the_packages_of_the_extra(tmp_path: Path) -> None:
    (tmp_path / "pipx_metadata.json").write_text("{}")
    words = shlex.split(installation.fix_extra("modal", tmp_path))
    assert words[:3] == ["pipx", "inject", "devbox-gpu"]
    assert sorted(words[3:]) == ["cryptography>=46", "modal<2,>=1.6.4"]


def test_pip_is_the_one_of_this_python(tmp_path: Path) -> None:
    words = shlex.split(installation.fix_extra("ui", tmp_path))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    done = subprocess.run([*words[:3], "--version"], capture_output=True, check=False)
    assert done.returncode == 0


def test_an_environment_without_pip_is_filled_by_uv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    fix = installation.fix_upgrade("modal", tmp_path)
    assert shlex.split(fix) == [
        *("uv", "pip", "install", "--python", sys.executable, "--upgrade", "modal")
    ]


@pytest.mark.parametrize(
    ("file", "begins"),
    [("uv-receipt.toml", "uv tool upgrade devbox-gpu"), ("pipx_metadata.json", "pipx runpip")],
)
def test_an_upgrade_stays_in_the_tool(tmp_path: Path, file: str, begins: str) -> None:
    (tmp_path / file).write_text("")
    assert installation.fix_upgrade("modal", tmp_path).startswith(begins)


def test_where_it_came_from_is_asked_of_the_installed_package() -> None:
    told = json.loads(metadata.distribution("devbox-gpu").read_text("direct_url.json") or "{}")
    assert told["dir_info"]["editable"], "the tests run on an editable install"
    assert f"-e '{ROOT}[ui]'" in installation.fix_extra("ui")


def test_every_extra_has_packages() -> None:
    named = metadata.metadata("devbox-gpu").get_all("Provides-Extra") or []
    assert {"modal", "docker", "gcs", "ui", "web", "all"} <= set(named)
    assert all(installation.requirements(extra) for extra in named)


def test_all_is_all_that_the_readme_lists_above_it() -> None:
    rows = re.findall(
        r"^\| ((?:`[a-z]+`(?:, )?)+) \|", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    extras = [name for row in rows for name in re.findall("[a-z]+", row)]
    named = extras[: extras.index("all")]
    assert {"docker", "modal", "ui", "web"} <= {*named}
    wanted = {each for extra in named for each in installation.requirements(extra)}
    assert set(installation.requirements("all")) == wanted


def test_both_commands_are_there() -> None:
    scripts = metadata.distribution("devbox-gpu").entry_points.select(group="console_scripts")
    assert {script.name: script.value for script in scripts} == {
        "devbox": "devbox.cli.main:main",
        "devbox-gpu": "devbox.cli.main:main",
    }


_BARE = re.compile(
    r"\b(?:uvx|(?:pip|pipx|uv)(?: tool| pip)? (?:install|inject|upgrade|run))\b[^\n]*"
    r"[\s'\"]devbox(?:['\"](?!s\b)|[\s\[@=<>~!]|$)",
    re.MULTILINE,
)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("pip install devbox", True),
        ("pip install 'devbox[modal]'", True),
        ("uv tool install --python 3.12 devbox", True),
        ("pipx install devbox==1", True),
        ("uv tool install 'devbox-gpu[all]'", False),
        ("uv, pipx or pip, as devbox was installed", False),
        ("pip install x in the folder of devbox's own source", False),
    ],
)
def test_what_counts_as_naming_the_other_package(text: str, bare: bool) -> None:
    assert bool(_BARE.search(text)) is bare


def test_nothing_names_the_other_package_as_one_to_install() -> None:
    """The registry's `devbox` is another project: installing it would run its code."""
    named = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    found = []
    for name in filter(None, named):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match[0]}" for match in _BARE.finditer(text)]
    assert not found

"""A project whose job is divided between local boxes, and `devbox` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from devbox.errors import DevboxError
from devbox.lifecycle import down
from devbox.workspace import Workspace
from tests import warm

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]
TOML = """
[providers.local]
price = 1.0

[boxes.w]
{table}
idle.after = "30m"
env.TRACE = "{trace}"

[jobs.copy]
module = "copy_job"
args.seconds = {{ type = "float", default = 0.0 }}
inputs.texts = {{ patterns = ["*.txt"], spread = "files" }}
"""
JOB = '''
"""Each text in capitals, with where and how often it was worked on."""
import os, time, json

def run(job):
    paths = job.named("texts")
    for name in job.items(paths):
        with job.item(name):
            text = paths[name].read_text()
            if text.startswith("bad"):
                raise ValueError("this one is bad")
            time.sleep(job.args["seconds"])
            trace = os.environ["TRACE"]
            if text.startswith("slow") and not os.path.exists(trace + ".slow"):
                open(trace + ".slow", "x").close()
                time.sleep(600)  # on the first box that works on it
            while text.startswith("wait") and not os.path.exists(trace + ".go"):
                time.sleep(0.02)
            print("worked on", name)
            if os.path.isdir(os.path.dirname(trace)):  # not on every box
                with open(trace, "a") as stream:
                    stream.write(name + "\\n")
            job.write(name + ".out", text.upper())
    job.write("summary.json", json.dumps(sorted(paths)))
'''


class Shop:
    """The project's folder, and `devbox` in it."""

    def __init__(self, root: Path, trace: Path) -> None:
        self.root, self.trace = root, trace

    def texts(self, count: int, *bad: int) -> Path:
        folder = self.root / "texts"
        folder.mkdir(exist_ok=True)
        for number in range(count):
            word = "bad" if number in bad else "text"
            (folder / f"t{number:04}.txt").write_text(f"{word} {number}\n")
        return folder

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        ws = Workspace.open(self.root)
        yield ws
        ws.store.close()

    def end_boxes(self) -> None:
        with self.workspace() as ws:
            for box in ws.store.boxes.all():
                with suppress(DevboxError):
                    down(ws, box, save=False)

    def words(self, *words: str) -> list[str]:
        return [*DEVBOX, *words]

    def devbox(self, *words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return warm.run(
            self.words(*words),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *words: str, change: str = "") -> warm.Popen:
        """change: as of `driver`."""
        driven = [sys.executable, "-m", "tests.scale.driver", change, *words]
        log = (self.root.parent / "devbox.log").open("ab")
        with log:
            argv = driven if change else self.words(*words)
            return warm.Popen(argv, cwd=self.root, stdout=log, stderr=log)

    def json(self, *words: str) -> Any:
        done = self.devbox(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def batch(self) -> dict[str, Any]:
        """The latest, as `devbox runs` has it."""
        found = self.json("runs")["runs"]
        assert isinstance(found[0], dict)
        return found[0]

    def go(self) -> None:
        """Texts that begin with "wait" are worked on from now on."""
        self.trace.with_suffix(".go").touch()

    def setup(self, command: str) -> None:
        """The setup of each box."""
        toml = self.root / "devbox.toml"
        line = f"[boxes.w]\nsetup = [{json.dumps(command)}]\n"
        toml.write_text(toml.read_text().replace("[boxes.w]\n", line))
        assert self.devbox("trust", "--yes").returncode == 0

    @property
    def worked(self) -> int:
        """How many texts were worked on."""
        return len(self.trace.read_bytes().split()) if self.trace.exists() else 0

    @property
    def made(self) -> int:
        """How many results are here."""
        return len(list(self.root.glob("results/*/*.out")))

    @property
    def said(self) -> str:
        """What was printed by what was started."""
        return (self.root.parent / "devbox.log").read_text()

    @property
    def results(self) -> Path:
        found = sorted((self.root / "results").iterdir())
        assert len(found) == 1, f"{[path.name for path in found]}: {self.said[-20_000:]}"
        return found[0]

    def require_all(self, count: int) -> None:
        """Every text is among the results, once, as it should be."""
        made = {path.name: path.read_text() for path in self.results.glob("*.out")}
        assert made == {f"t{n:04}.txt.out": f"TEXT {n}\n" for n in range(count)}
        assert not [path for path in self.results.rglob("*.out") if path.parent != self.results]


def opened(home: Path, table: str) -> Shop:
    """A project whose workers are made of that table."""
    root = home / "project"
    root.mkdir()
    (root / "devbox.toml").write_text(TOML.format(table=table, trace=home / "trace"))
    (root / "copy_job.py").write_text(JOB)
    return Shop(root, home / "trace")


@pytest.fixture
def workshop(home: Path) -> Iterator[Shop]:
    shop = opened(home, 'provider = "local"')
    yield shop
    shop.end_boxes()

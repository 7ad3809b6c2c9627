"""A run in rounds as tests drive it, through `devbox-box job rounds`."""

from __future__ import annotations

import json
from typing import Any

import psutil

from devbox.wire.codec import decode
from devbox.wire.jobs import Refusal, RoundsAnswer
from tests.jobs.conftest import BoxHalf, until

#: each piece is a file; its text says what becomes of it
JOB = """
import os, time

def run(job):
    made = job.resident("model", os.getpid)
    paths = job.named("images")
    for name in job.items(paths):
        with job.item(name):
            text = paths[name].read_text()
            if text == "bad":
                raise ValueError("cannot read it")
            if text == "poison":
                os.kill(os.getpid(), 11)
            while text == "wait" and not os.path.exists("go"):
                time.sleep(0.02)
            job.write(f"{name}.out", f"{text} {made} {len(job.every(paths))}")
"""


class Batch:
    """One part of a batch on one box: rounds of files whose text says what becomes of them."""

    def __init__(self, box: BoxHalf, names: list[str], **request: Any) -> None:
        self.box = box
        self.names = box.home / "names.jsonl"
        self.names.write_text("".join(json.dumps(name) + "\n" for name in names))
        self.request = {
            "module": box.module(JOB) if "module" not in request else "",
            "patterns": {"images": ["*"]},
            "spread": {"input": "images", "names": str(self.names)},
            "grace": 1.0,
            **request,
        }

    def start(self, attempt: int = 1) -> dict[str, Any]:
        return self.box.start(attempt=attempt, **self.request)

    def round(self, number: int, **files: str) -> dict[str, Any]:
        """A round of files: name → text. "__" in a name is a dot."""
        folder = self.box.root / "runs" / "r1" / "rounds" / str(number) / "in" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        named = {name.replace("__", "."): text for name, text in files.items()}
        for name, text in named.items():
            (folder / name).write_text(text)
        return {"number": number, "input": str(folder), "pieces": sorted(named)}

    def ask(self, *add: dict[str, Any], **more: Any) -> RoundsAnswer:
        found = self.told({"v": 1, "add": list(add), **more})
        assert isinstance(found, RoundsAnswer), found
        return found

    def told(self, asked: dict[str, Any]) -> RoundsAnswer | Refusal:
        process = self.box.popen("rounds", "r1")
        out, _ = process.communicate(json.dumps(asked).encode(), timeout=120)
        found: RoundsAnswer | Refusal = decode(out, Refusal, RoundsAnswer)
        return found

    def refused(self, *add: dict[str, Any], **more: Any) -> Refusal:
        found = self.told({"v": 1, "add": list(add), **more})
        assert isinstance(found, Refusal), found
        return found

    def out(self, number: int) -> dict[str, str]:
        folder = self.box.root / "runs" / "r1" / "rounds" / str(number) / "out"
        return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}

    def finished(self, *numbers: int) -> RoundsAnswer:
        """Wait until just these are, in this order."""

        def look() -> RoundsAnswer | None:
            found = self.ask()
            assert not found.status.is_over or found.status.state == "succeeded", found.status
            return found if tuple(each.number for each in found.finished) == numbers else None

        found = until(look)
        assert isinstance(found, RoundsAnswer)
        return found

    def worker(self) -> psutil.Process:
        """The process that works, without its supervisor."""
        supervisor = psutil.Process(self.box.file()["supervisor"]["pid"])
        (found,) = until(
            lambda: [p for p in supervisor.children() if "runs.worker" in str(p.cmdline())]
        )
        assert isinstance(found, psutil.Process)
        return found

    def waits(self) -> bool:
        return (self.box.root / "waiting" / "r1").exists()

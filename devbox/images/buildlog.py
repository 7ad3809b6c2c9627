"""A build's log: told line by line, kept as a file when the build fails."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from devbox import paths
from devbox.errors import BuildFailed
from devbox.files import private_dir, write_atomic
from devbox.text import clean

_SHOWN = 15  # lines of the failing step in the error
_KEPT = 20  # logs
_WIDEST = 500  # characters of a line
_MOST_LINES = 200_000
_GONE = re.compile(r"manifest unknown|manifest for \S+ not found|not found: manifest|: not found$")


class Log:
    """say gets every line. hidden: secret values, replaced wherever a step prints one."""

    def __init__(
        self, image: str, say: Callable[[str], None], *, hidden: tuple[str, ...] = ()
    ) -> None:
        self._image, self._say = image, say
        self._hidden = [value for value in hidden if value]
        self._lines: list[str] = []
        self._step = ""

    def step(self, text: str) -> None:
        """The name of the step that runs from now on."""
        self._step = clean(" ".join(text.split()), 300)
        self.line(text)

    def line(self, text: str) -> None:
        for value in self._hidden:
            text = text.replace(value, "[secret]")
        shown = clean(text.rstrip(), _WIDEST)
        if shown and len(self._lines) < _MOST_LINES:
            self._lines.append(shown)
            self._say(shown)

    def failed(self, said: str, *, step: str = "", last: list[str] | None = None) -> BuildFailed:
        """The error to raise, with the log written to a file. said: the engine's words. step,
        last: of the failing step, where the builder tells which; else of the running one."""
        for value in self._hidden:
            said = said.replace(value, "[secret]")
            last = [line.replace(value, "[secret]") for line in last or []]
        where = clean(" ".join(step.split()), 300) or self._step
        self.line(said)
        tail = [clean(line.rstrip(), _WIDEST) for line in last or self._lines[:-1]][-_SHOWN:]
        file = self._keep()
        quoted = "\n".join(f"  {line}" for line in tail if line)
        what = f"the image {self._image} did not build: {clean(said.strip(), 400)}"
        if where:
            what += f"\nthe failing step: {where}"
        if quoted:
            what += f"\nits log ends with:\n{quoted}"
        fix = f"the whole log: {file}"
        if _GONE.search(said):
            fix = (
                "the base image is gone from its registry, as old CUDA tags are in time; name "
                f"another: devbox image build {self._image} --arg BASE=…; {fix}"
            )
        nothing = "no image was made, nothing was pushed"
        return BuildFailed(what, means=nothing, fix=fix, quotes_log=bool(quoted))

    def _keep(self) -> Path:
        file = new_file(self._image)
        write_atomic(file, "\n".join(self._lines) + "\n")
        return file


def new_file(name: str) -> Path:
    """Where the log of a build is kept, not made yet: with it, the latest 20 stay. name: of the
    image or box."""
    folder = private_dir(paths.home() / "builds")
    for old in sorted(folder.glob("*.log"))[: 1 - _KEPT]:
        old.unlink(missing_ok=True)
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{time.time_ns() % 10**6}.log"

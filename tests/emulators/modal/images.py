"""Images: a chain of layers made by really running the Dockerfile's commands.

There is no network and no base image behind a build: the base is this host's
Debian, tools that would download (apt-get, pip, curl, ...) are replaced by
scripts that say so and succeed. Another RUN that fails is logged and passed
over, because the missing downloads may be the reason; ``strict_builds`` makes
it fail the build.
"""

from __future__ import annotations

import asyncio
import codecs
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.common import FaultKind
from tests.emulators.modal.context import archive
from tests.emulators.modal.dockerfile import (
    Instruction,
    assignments,
    command,
    expand,
    json_words,
    parse,
)
from tests.emulators.modal.feed import STDERR, STDOUT, SYSTEM, Feed, LogLine
from tests.emulators.modal.hollow import machine
from tests.emulators.modal.machine import Machine
from tests.emulators.modal.world import MountedFile, World, new_id

BASE_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
SHIMS = "/.emulator"
ACTING = frozenset({"RUN", "COPY", "ADD"})


@dataclass
class Image:
    """``layers`` uppermost first; ``failure`` is ``None`` until a build failed."""

    id: str
    created_at: float
    layers: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=lambda: dict(BASE_ENV))
    directory: str = ""
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    expires_at: float | None = None
    failure: str | None = None
    log: Feed[LogLine] = field(default_factory=Feed)
    built: asyncio.Event = field(default_factory=asyncio.Event)

    def child(self, created_at: float, layers: tuple[str, ...]) -> Image:
        """A finished image with the same settings on other layers."""
        image = Image(new_id("im"), created_at, layers)
        image.env, image.directory = dict(self.env), self.directory
        image.entrypoint, image.cmd = list(self.entrypoint), list(self.cmd)
        image.commands = list(self.commands)
        image.log.end()
        image.built.set()
        return image


class BuildError(Exception):
    """A step failed."""


class Build:
    """One run of one image definition (``api_pb2.Image``)."""

    def __init__(self, world: World, image: Image, definition: Any) -> None:
        self._world = world
        self._image = image
        self._definition = definition
        self._arguments = dict(definition.build_args)
        self._machine: Machine | None = None
        for secret_id in definition.secret_ids:
            self._arguments.update(world.secrets[secret_id].values)

    async def run(self) -> None:
        """Build, log, and mark the image as built or failed."""
        image, world = self._image, self._world
        fault = world.knobs.take("ImageGetOrCreate", FaultKind.BUILD_ERROR)
        try:
            self._say(SYSTEM, f"Building image {image.id}\n")
            await world.clock.sleep(world.stages.image_build)
            await self._steps(parse(self._definition.dockerfile_commands))
            if fault is not None:
                for line in fault.lines:
                    self._say(STDERR, f"{line}\n")
                raise BuildError("failed to run builder command: container exit status: 1")
            self._say(SYSTEM, f"Built image {image.id}\n")
        except (BuildError, ValueError) as error:
            image.failure = str(error)
            self._say(SYSTEM, f"Terminating task due to error: {error}\n")
        finally:
            if self._machine is not None:
                await self._machine.stop()
            image.log.end()
            image.built.set()

    async def _steps(self, instructions: Sequence[Instruction]) -> None:
        image = self._image
        for base in self._definition.base_images:
            inherited = self._world.image(base.image_id)
            image.layers, image.env = inherited.layers, dict(inherited.env)
            image.directory, image.commands = inherited.directory, list(inherited.commands)
            image.entrypoint, image.cmd = list(inherited.entrypoint), list(inherited.cmd)
        if any(each.word in ACTING for each in instructions):
            layers = (self._world.store.shims, *image.layers)
            self._machine = machine(self._world.store, layers, "builder", stays=False)
            await self._machine.start()
        for number, instruction in enumerate(instructions):
            self._say(SYSTEM, f"=> Step {number}: {instruction.text}\n")
            image.commands.append(instruction.text)
            await self._step(instruction)
        if self._machine is not None:
            image.layers = (await self._machine.snapshot(), *image.layers)

    async def _step(self, instruction: Instruction) -> None:
        image, rest = self._image, instruction.rest
        match instruction.word:
            case "RUN":
                await self._run(instruction)
            case "COPY" | "ADD":
                await self._copy(instruction)
            case "ENV":
                known = {**self._arguments, **image.env}
                image.env |= {k: expand(v, known) for k, v in assignments(rest).items()}
            case "ARG":
                self._arguments = {**assignments(rest), **self._arguments}
            case "WORKDIR":
                base = image.directory or "/"
                image.directory = base.rstrip("/") + "/" + rest if rest[0] != "/" else rest
            case "ENTRYPOINT":
                image.entrypoint, image.cmd = command(rest), []
            case "CMD":
                image.cmd = command(rest)
            case _:  # FROM, LABEL, EXPOSE, USER and the like change nothing here
                return

    async def _run(self, instruction: Instruction) -> None:
        words = json_words(instruction.rest) or ["/bin/sh", "-c", instruction.rest]
        code = await self._execute(words)
        if code == 0:
            return
        said = f"command exited with status {code}: {instruction.text}"
        if self._world.strict_builds:
            raise BuildError(f"failed to run builder command: {said}")
        self._say(SYSTEM, f"emulator: passed over, {said}\n")

    async def _copy(self, instruction: Instruction) -> None:
        if "from" in instruction.flags:
            raise BuildError(f"the emulator has no other build stage: {instruction.text}")
        if self._definition.context_mount_id in self._world.modals_mounts:
            self._say(SYSTEM, f"emulator: not copied, it is Modal's own: {instruction.text}\n")
            return
        words = json_words(instruction.rest) or shlex.split(instruction.rest)
        known = {**self._arguments, **self._image.env}
        *sources, target = [expand(word, known) for word in words]
        base = self._image.directory or "/"
        where = target if target.startswith("/") else f"{base.rstrip('/')}/{target}"
        where = where + "/" if target in (".", "./") else where
        chmod = instruction.flags.get("chmod")
        data = archive(self._context(), sources, where, int(chmod, 8) if chmod else None)
        unpack = ["/bin/tar", "--extract", "--file=-", "--directory=/", "--no-same-owner"]
        if await self._execute(unpack, data) != 0:
            raise BuildError(f"failed to copy: {instruction.text}")

    async def _execute(self, words: Sequence[str], data: bytes = b"") -> int:
        assert self._machine is not None
        env = {**self._arguments, **self._image.env}
        env["PATH"] = f"{SHIMS}:{env['PATH']}"
        directory = self._image.directory or "/"
        makedir = ["/bin/sh", "-c", 'mkdir -p -- "$0" && cd -- "$0" && exec "$@"', directory]
        decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in (STDOUT, STDERR)}
        process = self._machine.spawn(
            [*makedir, *words],
            env,
            on_stdout=lambda chunk: self._say(STDOUT, decoders[STDOUT].decode(chunk)),
            on_stderr=lambda chunk: self._say(STDERR, decoders[STDERR].decode(chunk)),
        )
        await process.write(data)
        process.close_stdin()
        return await process.exited

    def _context(self) -> dict[str, MountedFile]:
        files = {
            each.filename: MountedFile(each.data, 0o644) for each in self._definition.context_files
        }
        if self._definition.context_mount_id:
            files |= self._world.mounts[self._definition.context_mount_id]
        return files

    def _say(self, source: int, text: str) -> None:
        self._image.log.add(LogLine(self._world.clock.now(), source, text))

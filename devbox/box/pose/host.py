"""An engine in a process and an environment of its own.

    with Host("mediapipe", {}, say=job.log) as host:
        people = host.see(image, session="", frame=0)

Model code prints to stdout, changes globals, and may end its process: here that costs one answer.
The engine's process is started when it is first needed, and again after it died; what it prints
goes to stderr. Messages are a JSON header and raw bytes over two pipes that only these two hold.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import struct
import subprocess
import sys
import threading
import time
from importlib import import_module
from typing import (
    IO,
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from devbox.box import environment
from devbox.box.pose.engines import Engine
from devbox.box.pose.person import Person, packed, unpacked
from devbox.box.pose.result import Faces
from devbox.box.runs.process_group import python_command
from devbox.wire.jobs import Environment

#: what pose needs of mediapipe and no more: it declares jax, sounddevice and others besides
MEDIAPIPE = Environment(
    packages=(
        "mediapipe==0.10.21",
        "absl-py==2.3.1",
        "attrs==25.4.0",
        "contourpy==1.3.0",
        "cycler==0.12.1",
        "flatbuffers==25.9.23",
        "fonttools==4.60.1",
        "importlib-resources==6.5.2",
        "kiwisolver==1.4.7",
        "matplotlib==3.9.4",
        "numpy==1.26.4",
        "opencv-python-headless==4.11.0.86",
        "packaging==25.0",
        "pillow==11.3.0",
        "protobuf==4.25.8",
        "pyparsing==3.2.5",
        "python-dateutil==2.9.0.post0",
        "six==1.17.0",
        "zipp==3.23.0",
    ),
    no_deps=True,
    python=">=3.9,<3.13",
)
LOAD_SECONDS, SEE_SECONDS = 900.0, 100.0
#: what makes an engine in its process: load(name, options)
FACTORY = "devbox.box.pose.engines:load"


class EngineFailed(Exception):
    """The engine could not be loaded, died, or took too long."""


class Ready(NamedTuple):
    """What a loaded engine says of itself. note: why it is another one than was asked for."""

    engine: str
    models: Dict[str, bool]
    device: str
    faces: Faces
    note: str


class Host:
    """name: of `engines.NAMES`. options: for `engines.load`. say: takes lines for the user.
    All methods but `close` are for one thread at a time."""

    def __init__(self, name: str, options: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._asked, self._options, self._say = name, dict(options), say
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self.ready: Optional[Ready] = None

    def __enter__(self) -> "Host":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Ready:
        """Make its environment, load it, and wait until it can see. EngineFailed;
        environment.EnvironmentMissing where its packages cannot be had."""
        if self.ready and self._process and self._process.poll() is None:
            return self.ready
        self.close()
        name, python, note = self._place()
        if note:
            self._say(note)
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "GLOG_minloglevel": "2"}
        if not python:
            # The box's own Python, with the packages that this process has.
            env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        elif "PYTHONPATH" in env:
            del env["PYTHONPATH"]
        self._process = subprocess.Popen(
            python_command("pose.host", FACTORY, name, json.dumps(self._options), python=python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )
        header, _ = self._exchange({}, (), LOAD_SECONDS)
        self.ready = Ready(name, header["models"], header["device"], header["faces"], note)
        return self.ready

    def see(self, image: Any, session: str = "", frame: int = 0) -> List[Person]:
        """As `Engine.see`: a BGR uint8 frame of height × width × 3. ValueError as there;
        EngineFailed when the process died or took too long: the next call starts it again, and
        sessions begin again with it."""
        import numpy as np

        self.start()
        content = np.ascontiguousarray(image, np.uint8)
        header = {"see": [session, frame], "shape": content.shape}
        answer, parts = self._exchange(header, (content.tobytes(),), SEE_SECONDS)
        if "error" in answer:
            raise ValueError(answer["error"])
        return [unpacked(fields, part) for fields, part in zip(answer["people"], parts)]

    def forget(self, session: str) -> None:
        """As `Engine.forget`; nothing to do where no process runs."""
        if self._process and self._process.poll() is None:
            self._exchange({"forget": session}, (), SEE_SECONDS)

    def close(self) -> None:
        """End the process. Any thread may call it; a call that waits raises EngineFailed."""
        process, self._process, self.ready = self._process, None, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                if stream:
                    stream.close()
            except OSError:
                pass  # why: what was still to be sent has nobody to read it

    def _place(self) -> Tuple[str, str, str]:
        """(engine, its Python or "" for the box's own, a sentence for the user)."""
        if self._asked != "mediapipe":
            return self._asked, "", ""
        why = ""
        if sys.platform.startswith("linux") and platform.machine() not in ("x86_64", "AMD64"):
            why = f"mediapipe has no wheel for Linux on {platform.machine()}"
        else:
            try:
                return "mediapipe", environment.provide(MEDIAPIPE, self._say), ""
            except environment.NoPython as error:
                why = str(error)
        note = (
            f"engine mediapipe does not run here ({why}). Engine cascade is used in its place: "
            "it finds faces only, with no skeleton and no 3D"
        )
        return "cascade", "", note

    def _exchange(
        self, header: Dict[str, Any], parts: Sequence[bytes], patience: float
    ) -> Tuple[Dict[str, Any], List[bytes]]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EngineFailed("the engine was closed")
        timer = threading.Timer(patience, process.kill)
        timer.daemon = True
        began = time.monotonic()
        timer.start()
        try:
            if header:
                _send(process.stdin, header, parts)
            answer, found = _receive(process.stdout)
        except (EOFError, OSError, ValueError):
            process.kill()
            code = process.wait()
            late = time.monotonic() - began >= patience
            self.close()
            why = f"took longer than {patience:.0f} s" if late else f"ended ({_ended(code)})"
            raise EngineFailed(f"the engine's process {why}; the log says more") from None
        finally:
            timer.cancel()
        if "failed" in answer:
            self.close()
            raise EngineFailed(answer["failed"])
        return answer, found


def main(argv: List[str]) -> int:
    """The engine's process: loads it, says so, then answers until its stdin ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # whatever upstream prints, at any level, is part of the log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, in its own order
    try:
        engine: Engine = factory(argv[0])(argv[1], json.loads(argv[2]))
    except Exception as error:
        _log_traceback()
        _send(answers, {"failed": f"engine {argv[1]}: {_told(error)}"}, ())
        return 1
    models = {"models": engine.models, "device": engine.device, "faces": engine.faces}
    _send(answers, models, ())
    while True:
        try:
            header, parts = _receive(requests)
        except EOFError:
            return 0
        _send(answers, *_answer(engine, header, parts))


def factory(name: str) -> Callable[[str, Mapping[str, Any]], Engine]:
    """What "package.module:function" names."""
    module, _, function = name.partition(":")
    found: Callable[[str, Mapping[str, Any]], Engine] = getattr(import_module(module), function)
    return found


def _answer(
    engine: Engine, header: Dict[str, Any], parts: List[bytes]
) -> Tuple[Dict[str, Any], List[bytes]]:
    import numpy as np

    try:
        if "forget" in header:
            engine.forget(header["forget"])
            return {}, []
        image = np.frombuffer(bytearray(parts[0]), np.uint8).reshape(header["shape"])
        people = [packed(person) for person in engine.see(image, *header["see"])]
    except Exception as error:
        _log_traceback()
        return {"error": _told(error)}, []
    return {"people": [fields for fields, _ in people]}, [vertices for _, vertices in people]


def _send(stream: IO[bytes], header: Dict[str, Any], parts: Sequence[bytes]) -> None:
    content = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    sizes = [len(content), *map(len, parts)]
    stream.write(struct.pack(f">I{len(sizes)}I", len(sizes), *sizes))
    for part in (content, *parts):
        stream.write(part)
    stream.flush()


def _receive(stream: IO[bytes]) -> Tuple[Dict[str, Any], List[bytes]]:
    """EOFError where the other side is gone."""
    (count,) = struct.unpack(">I", _exactly(stream, 4))
    sizes = struct.unpack(f">{count}I", _exactly(stream, 4 * count))
    content, *parts = [_exactly(stream, size) for size in sizes]
    return json.loads(content), parts


def _exactly(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _told(error: Exception) -> str:
    text = str(error).strip()
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _log_traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.__stderr__)


def _ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"

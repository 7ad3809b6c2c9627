"""Over three hundred hostile inputs of five kinds through the real verbs: configurations, what a
box answers, file names, Dockerfiles and videos. Of all of them: no traceback, nothing a terminal
acts on, no file outside the project, no word to an address that the user did not write."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from devbox.box.job import Job
from devbox.box.jobs import track
from tests.boxes import MakeBox
from tests.cli.test_fixes import run
from tests.cli.test_hostile_output import BAD, NASTY, OWN
from tests.cli.test_trust import Elsewhere, elsewhere
from tests.core.hostile import ALL
from tests.core.test_net import TOML
from tests.sync.conftest import MakePair, make_pair
from tests.sync.test_hostile import NAMES

__all__ = ["elsewhere", "make_pair"]

TEXTS = [text for text in ALL if len(text) < 5000] + NASTY
#: (verb, file) with {key}: the text as a TOML string or key; {url}: a stranger's server
CONFIGURATIONS = (
    ("ls --all", "[boxes.{key}]\n"),
    ("config show", "[boxes.b]\nenv = {{ {key} = {key} }}\nimage = {key}\nhardware = {key}\n"),
    (
        "up b",
        '[boxes.b]\nsecrets = {{ K = {key} }}\nprovider = "hf-job"\n'
        '[providers.hf]\nendpoint = "{url}"\n',
    ),
    (
        "up b",
        '[boxes.b]\nprovider = "modal"\nregion = {key}\n[providers.modal]\nserver_url = "{url}"\n',
    ),
    (
        "sync up b",
        "[boxes.b]\nsync = {{ path = {key}, down = [{key}] }}\n"
        '[providers.hf]\nendpoint = "{url}"\n',
    ),
    ("run", '[checkpoints.c]\nsource = "{url}/w"\npath = {key}\nsecret = "env:HF_TOKEN"\n'),
    (
        "run",
        "[jobs.j]\nsummary = {key}\ncommand = [{key}]\ncheckpoints = [{key}]\n"
        "[boxes.b]\nprovider = {key}\n",
    ),
    (
        "trust --show",
        "project = {key}\n[boxes.b]\nidle = {{ after = {key}, pause_command = [{key}] }}\n",
    ),
)

_JSON = [json.dumps(text).encode() for text in (*NASTY, "../../x", "\ud800", "x" * 70_000)]
ANSWERS = [
    b"", b"\n" * 1000, b"\xff\xfe\x00", b"[" * 50_000, b"{" * 50_000, b"null", b"-1", b"1e999",
    b"<html><body>502</body></html>", b"\x00" * 4096, b"x" * 3_000_000, b"f --1 1 a\n",
    b"now 1\nf 1 1e308 ../../x\n", b"now 1\nf 1 1 /etc/passwd\n", b"now -1\nl 1 1 x\n",
    b'{"v":1,"boot":"b","seq":1,"t":1e308}\n', b'{"v":1,"hb":NaN}\n', b'{"v":99}\n',
    *(b'{"v":1,"event":{"seq":1,"t":1,"kind":%s,"message":%s}}\n' % (t, t) for t in _JSON),
    *(b'{"error":"not_found","message":%s}\n' % text for text in _JSON),
    *(b'{"v":1,"boot":"b","seq":1,"t":1,"jobs":[%s],"disk":{"path":%s}}\n' % (t, t) for t in _JSON),
    *(b'{"now":1,"runs":[{"id":%s,"state":"failed","message":%s}]}\n' % (t, t) for t in _JSON),
    *(text + b"\n" for text in _JSON),
]  # fmt: skip
ASKING = (
    ("status", "b"),
    ("doctor", "b"),
    ("top", "--once", "b"),
    ("sync", "status", "b"),
    ("keep", "b", "1h"),
    ("events", "b"),
)
DOCKERFILES = [
    "", "\ufeffFROM a\n", "FROM\n", "FROM a AS\n", "FROM a AS b\nFROM b AS b\nCOPY --from=c x y\n",
    "RUN <<\n", "RUN <<EOF\n", "RUN <<'E' <<\"F\"\nx\nE\n", "RUN x \\\n", "RUN x \\\n\\\n\\\n",
    "# escape=`\nFROM a\nRUN x `\n y\n",
    "# syntax=evil/frontend\nFROM a\n", "ARG A=${A}\nFROM $A\n",
    "ENV A=${A:-${A:-${A}}}\n", "FROM a\nRUN " + "x && " * 20_000 + "y\n", "FROM a\n" * 3000,
    "ONBUILD ONBUILD RUN x\n", "RUN [\"a\", \n", 'RUN ["a", "b"] x\n', "COPY ../../x /\n", "\0",
    "RUN --mount=type=bind,source=/,target=/x ls\n", "ADD http://169.254.169.254/ /x\n",
    "HEALTHCHECK\n", "FROM a\r\nRUN b\r\n", "from a\nrun b\n", "\tFROM a\n", "FROM a:b@sha256:c\n",
    *(f"FROM {text}\n" for text in NASTY), *(f"FROM a\nRUN echo {text}\n" for text in NASTY),
    *(f"FROM a\n{text} x\n" for text in NASTY), *(f"# {text}\nFROM a\n" for text in NASTY),
]  # fmt: skip
VIDEOS = 40


def test_there_are_three_hundred() -> None:
    kinds = (TOML, TEXTS, ANSWERS, NAMES, DOCKERFILES, range(VIDEOS))
    assert min(len(each) for each in kinds[1:]) >= 40
    assert sum(len(each) for each in kinds) >= 300


@pytest.fixture
def guarded(home: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere) -> Iterator[Path]:
    """A project folder, and the current one, in a home with credentials. Afterwards nothing but
    the project and devbox's own folders may have changed, and the stranger was sent nothing."""
    for key, value in {
        "HF_TOKEN": "hf_thetokenoftheuser",
        "MODAL_TOKEN_ID": "ak-x",
        "MODAL_TOKEN_SECRET": "as-thesecretoftheuser",
        # nothing real is reached either: every port of this address is closed
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "MODAL_SERVER_URL": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(key, value)
    (home / ".netrc").write_text("machine x login y password z\n")
    project = home / "project"
    project.mkdir(exist_ok=True)
    monkeypatch.chdir(project)
    before = _outside(home)
    yield project
    assert _outside(home) == before
    assert elsewhere.calls == []


def _outside(home: Path) -> set[tuple[str, bytes]]:
    """Every file of the home but those in the project and devbox's own folders."""
    ours = {"project", ".devbox", ".devbox-box", ".cache", ".ssh"}
    return {
        (str(file), file.read_bytes())
        for top in home.iterdir()
        if top.name not in ours
        for file in (top.rglob("*") if top.is_dir() else [top])
        if file.is_file() and not file.is_symlink()
    }


def told(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """All a verb prints, with its errors, checked; its exit code is one that devbox gives."""
    code, text = run(monkeypatch, *words)
    assert 0 <= code < 70, (words, code, text)
    assert "Traceback" not in text, (words, text)
    assert "devbox itself failed" not in text, (words, text)
    assert not BAD.search(OWN.sub("", text)), (words, text)
    for secret in ("thetokenoftheuser", "thesecretoftheuser"):
        assert secret not in text, (words, text)
    return text


def test_configurations(
    guarded: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    for number, text in enumerate(TEXTS):
        key = json.dumps(text, ensure_ascii=not text.isprintable())
        verb, form = CONFIGURATIONS[number % len(CONFIGURATIONS)]
        content = form.format(key=key, url=elsewhere.url)
        (guarded / "devbox.toml").write_bytes(content.encode("utf-8", "surrogatepass"))
        told(monkeypatch, *verb.split())
    for raw, _ in TOML.values():
        (guarded / "devbox.toml").write_bytes(raw)
        told(monkeypatch, "ls", "--all")


def test_answers_of_a_box(
    guarded: Path, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The box's Python is someone else's: whatever it is asked, it prints the answer."""
    guarded.rmdir()
    fake = home / ".cache" / "bin"
    fake.mkdir(parents=True)
    answer = fake / "answer"
    answer.write_bytes(b"")
    python = fake / "python3"
    python.write_text(f"#!/bin/sh\ncase $1 in -c) exit 0;; esac\nexec cat {answer}\n")
    python.chmod(0o700)
    monkeypatch.setattr("devbox.cli.top._PATIENCE", 1.0)
    make: MakeBox = request.getfixturevalue("make_local_box")
    make(env={"PATH": f"{fake}:{os.environ['PATH']}"})
    monkeypatch.chdir(guarded)
    (guarded / "devbox.toml").write_text("[boxes.b]\n")
    for number, content in enumerate(ANSWERS):
        answer.write_bytes(content)
        told(monkeypatch, *ASKING[number % len(ASKING)])


def test_file_names(
    guarded: Path, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    guarded.rmdir()
    make: MakePair = request.getfixturevalue("make_pair")
    pair = make()
    monkeypatch.chdir(pair.here)
    for name in NAMES:
        for folder in (pair.here, pair.there):
            made = os.path.join(os.fsencode(folder), b"made of " + name + b" in", name)
            os.makedirs(os.path.dirname(made))
            with open(made, "wb") as stream:
                stream.write(os.fsencode(folder))
    for words in (("sync", "status", "b"), ("sync", "up", "b", "--dry-run"), ("sync", "up", "b"),
                  ("sync", "down", "b", "--dry-run"), ("sync", "down", "b")):  # fmt: skip
        told(monkeypatch, *words)
    assert not list(home.rglob("pwned"))


def test_dockerfiles(guarded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, text in enumerate(DOCKERFILES):
        folder = guarded / f"d{number}"
        folder.mkdir()
        (folder / "Dockerfile").write_text(text)
        told(monkeypatch, "image", "lint", f"./d{number}")


def test_videos(guarded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every file has its results or its error, and one that is damaged ends no other."""
    folder = guarded / "videos"
    folder.mkdir()
    good = {suffix: _clip(guarded / f"good{suffix}") for suffix in (".mp4", ".avi")}
    chance = random.Random(7)
    for number in range(VIDEOS):
        suffix = (".mp4", ".avi")[number % 2]
        data = bytearray(good[suffix])
        match number % 4:
            case 0 | 1:
                del data[chance.randrange(len(data)) :]
            case _:
                for _ in range(chance.choice((1, 20, 2000))):
                    data[chance.randrange(len(data))] = chance.randrange(256)
        (folder / f"{number:02}{suffix}").write_bytes(data)
    job = Job(
        guarded / "run",
        args={"engine": "cascade", "min_size": 40, "predict_frames": 2, "hold_frames": 4,
              "fps": 25.0},
        inputs={"video": folder},
        patterns={"video": ("*.mp4", "*.avi")},
    )  # fmt: skip
    track.run(job)
    done = {file.parent.name for file in job.out.rglob("results.jsonl")}
    failed = {Path(item).name for item in job.failed}
    for file in folder.iterdir():
        assert file.name in failed or file.name in done or file.stem in done, file.name
    # what libav says goes to the log as it comes, and `devbox logs` cleans it
    assert not BAD.search(OWN.sub("", capfd.readouterr().out))


def _clip(path: Path) -> bytes:
    codec = cv2.VideoWriter.fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), codec, 25, (160, 120))
    for number in range(12):
        writer.write(np.full((120, 160, 3), 20 * number, np.uint8))
    writer.release()
    data = path.read_bytes()
    path.unlink()
    return data

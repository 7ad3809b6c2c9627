"""Checkpoints: fetched once, whole, verified, and with nobody's secret left behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage
from huggingface_hub import HfApi, constants

from devbox.box.checkpoints import source, web
from devbox.box.checkpoints.source import Source, parse
from tests.emulators.hf import HfEmulator
from tests.jobs.conftest import BoxHalf, until

DATA = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(DATA).hexdigest()
GCS = """
import sys
from gcp_storage_emulator.server import create_server
server = create_server("localhost", 0, in_memory=True, default_bucket="weights")
server.start()
print(server._api._httpd.server_address[1], flush=True)
sys.stdin.read()
server.stop()
"""


class Web:
    """A server of one file. cuts: bytes after which an answer is cut off, one an answer;
    answers: status codes given instead; asked: (Range, If-Range, Authorization) so far."""

    def __init__(self) -> None:
        self.data, self.tag = DATA, '"one"'
        self.cuts: list[int] = []
        self.answers: list[int] = []
        self.asked: list[tuple[str | None, str | None, str | None]] = []
        self.secret = ""
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/w.pt?signature=hush"

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        asked, kept = call.headers.get("Range"), call.headers.get("If-Range")
        self.asked.append((asked, kept, call.headers.get("Authorization")))
        status = self.answers.pop(0) if self.answers else 0
        if self.secret and call.headers.get("Authorization") != f"Bearer {self.secret}":
            status = 401
        if status:
            call.send_response(status)
            call.send_header("Content-Length", "0")
            call.end_headers()
            return
        begin = int(asked[6:-1]) if asked and kept == self.tag else 0
        body = self.data[begin:]
        call.send_response(206 if begin else 200)
        call.send_header("ETag", self.tag)
        call.send_header("Content-Length", str(len(body)))
        if begin:
            whole = len(self.data)
            call.send_header("Content-Range", f"bytes {begin}-{whole - 1}/{whole}")
        call.end_headers()
        call.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Web]:
    found = Web()
    yield found
    found.close()


@pytest.fixture
def bucket(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """A bucket named weights, of an emulator in a process of its own."""
    command = [sys.executable, "-c", GCS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        port = int(server.stdout.readline())
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
        yield storage.Client.create_anonymous_client().bucket("weights")
        server.stdin.close()
        server.wait(20)


def begin(box: BoxHalf, origin: str, run_id: str = "r1", **fields: Any) -> dict[str, Any]:
    """A run that needs w at models/w, to its end."""
    secret = {"w": fields.pop("secret")} if "secret" in fields else {}
    box.start(
        run_id,
        command=["sh", "-c", 'if [ -d "$0" ]; then ls -A "$0"; else wc -c <"$0"; fi', "{w}"],
        template=True,
        checkpoints={"w": "models/w"},
        fetch={"w": {"source": origin, **fields}},
        secrets=secret,
    )
    return box.end(run_id)


def left_over(box: BoxHalf) -> list[str]:
    return sorted(path.name for path in (box.home / "models").iterdir() if path.name != "w")


def test_fetched_once_and_verified(box: BoxHalf, site: Web) -> None:
    status = begin(box, site.url, sha256=SHA256, bytes=len(DATA))
    assert (status["state"], status["message"]) == ("succeeded", "")
    assert box.log().splitlines()[-1] == str(len(DATA))
    assert "checkpoint w" in status["timings"]
    assert begin(box, site.url, "r2", sha256=SHA256)["state"] == "succeeded"
    assert len(site.asked) == 1
    assert left_over(box) == []


def test_another_content_than_promised_is_not_kept(one_box: BoxHalf, site: Web) -> None:
    status = begin(one_box, site.url, sha256="0" * 64)
    assert status["state"] == "failed"
    assert f"sha256 {SHA256}, not {'0' * 64}; it is not used" in status["message"]
    assert not (one_box.home / "models/w").exists()
    assert (one_box.home / "models/w.wrong").read_bytes() == DATA
    status = begin(one_box, site.url, "r2", sha256=SHA256, bytes=7)
    assert f"{len(DATA)} bytes, not 7; nothing was fetched" in status["message"]


def test_a_file_of_the_person_is_never_replaced(one_box: BoxHalf, site: Web) -> None:
    place = one_box.home / "models/w"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    status = begin(one_box, site.url, sha256=SHA256)
    assert "remove it to have it fetched, or correct devbox.toml" in status["message"]
    assert place.read_bytes() == b"mine"
    place.write_bytes(DATA)
    assert begin(one_box, site.url, "r2", sha256=SHA256)["state"] == "succeeded"
    place.write_bytes(b"changed behind our back")
    assert begin(one_box, site.url, "r3", sha256=SHA256)["state"] == "failed"
    assert site.asked == []


def test_one_that_does_not_fit_is_not_begun(one_box: BoxHalf, site: Web) -> None:
    status = begin(one_box, site.url, sha256=SHA256, size=1 << 60)
    assert "checkpoint w needs" in status["message"]
    assert site.asked == []


def test_a_secret_is_used_and_gone(one_box: BoxHalf, site: Web) -> None:
    site.secret = "hush-hush"
    status = begin(one_box, site.url, sha256=SHA256)
    assert "answers 401: give a secret" in status["message"]
    assert begin(one_box, site.url, "r2", sha256=SHA256, secret="hush-hush")["state"] == "succeeded"
    for path in one_box.root.rglob("*"):
        if path.is_file():
            assert b"hush-hush" not in path.read_bytes(), path
    assert "signature" not in one_box.log("r1") + one_box.log("r2") + status["message"]


def test_two_runs_fetch_it_once(one_box: BoxHalf, site: Web) -> None:
    fields = {
        "command": ["true"],
        "checkpoints": {"w": "models/w"},
        "fetch": {"w": {"source": site.url, "sha256": SHA256}},
    }
    for name in ("a", "b", "c"):
        one_box.start(name, **fields)
    assert [one_box.end(name)["state"] for name in ("a", "b", "c")] == ["succeeded"] * 3
    assert len(site.asked) == 1


def test_a_cancelled_fetch_goes_on_where_it_was(one_box: BoxHalf, site: Web) -> None:
    site.cuts = [600_000]
    site.answers = [0] + [503] * 9
    one_box.start(
        command=["true"],
        checkpoints={"w": "models/w"},
        fetch={"w": {"source": site.url, "sha256": SHA256}},
    )
    until(lambda: len(site.asked) > 1)
    assert one_box.job("cancel", "r1")["state"] == "cancelled"
    site.answers.clear()
    site.asked.clear()
    assert begin(one_box, site.url, "r2", sha256=SHA256)["state"] == "succeeded"
    assert site.asked[0][:2] == ("bytes=600000-", '"one"')


def test_cuts_and_refusals_are_waited_out(home: Path, site: Web) -> None:
    site.cuts, site.answers = [1000, 5000, 70_000], [0, 503]
    waits: list[float] = []
    found = web.fetch(Source(source.WEB, site.url), home, "", sleep=waits.append)
    assert found.read_bytes() == DATA
    assert [asked[0] for asked in site.asked] == [
        None,
        "bytes=1000-",
        "bytes=1000-",
        "bytes=6000-",
        "bytes=76000-",
    ]
    assert len(waits) == 4


def test_versions_are_never_mixed(home: Path, site: Web) -> None:
    site.cuts = [500]

    def replaced(_: float) -> None:
        site.tag, site.data = '"two"', DATA[::-1]

    found = web.fetch(Source(source.WEB, site.url), home, "", sleep=replaced)
    assert found.read_bytes() == DATA[::-1]


def test_a_server_that_never_gets_there_is_given_up(home: Path, site: Web) -> None:
    site.answers = [503] * 20
    with pytest.raises(OSError, match=r"/w\.pt: answers 503; what came is kept"):
        web.fetch(Source(source.WEB, site.url), home, "", sleep=lambda _: None)
    assert len(site.asked) == 6


def test_from_the_hub(one_box: BoxHalf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    with HfEmulator(state_dir=one_box.home / "hub") as hub:
        for key, value in hub.env().items():
            monkeypatch.setenv(key, value)
        api = HfApi(endpoint=hub.env()["HF_ENDPOINT"], token=hub.env()["HF_TOKEN"])
        api.create_repo("me/w", private=True)
        for name in ("w.pt", "sub/a", "sub/deep/b"):
            api.upload_file(path_or_fileobj=DATA, path_in_repo=name, repo_id="me/w")
        assert begin(one_box, "hf://me/w/w.pt", sha256=SHA256)["state"] == "succeeded"
        assert one_box.log().splitlines()[-1] == str(len(DATA))
        (one_box.home / "models/w").unlink()
        begin(one_box, "hf://me/w/sub/", "folder")
        assert one_box.log("folder").splitlines()[-2:] == ["a", "deep"]
        assert left_over(one_box) == []
        for origin, said in (
            ("hf://me/w/nothing.pt", "me/w has no file nothing.pt"),
            ("hf://me/other/w.pt", "the Hub has no repository me/other"),
            ("hf://me/w@v9/w.pt", "me/w has no revision v9"),
        ):
            _remove(one_box)
            status = begin(one_box, origin, "r-" + hashlib.md5(origin.encode()).hexdigest()[:6])
            assert said in status["message"]


def test_from_a_bucket(one_box: BoxHalf, bucket: storage.Bucket) -> None:
    for name in ("v1/w.pt", "v1/deep/x.pt", "v2/y.pt"):
        bucket.blob(name).upload_from_string(DATA)
    assert begin(one_box, "gs://weights/v1/w.pt", sha256=SHA256)["state"] == "succeeded"
    assert one_box.log().splitlines()[-1] == str(len(DATA))
    (one_box.home / "models/w").unlink()
    begin(one_box, "gs://weights/v1/", "folder")
    assert one_box.log("folder").splitlines()[-2:] == ["deep", "w.pt"]
    assert (one_box.home / "models/w/deep/x.pt").read_bytes() == DATA
    _remove(one_box)
    status = begin(one_box, "gs://weights/nothing.pt", "gone")
    assert "there is no gs://weights/nothing.pt" in status["message"]
    status = begin(one_box, "gs://weights/nothing/", "empty")
    assert "there is nothing below gs://weights/nothing/" in status["message"]
    status = begin(one_box, "gs://weights/v1/w.pt", "badkey", secret="no json")
    assert "is a service account's JSON" in status["message"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf://a/b", Source("hf", "a/b")),
        ("hf://a/b/", Source("hf", "a/b")),
        ("hf://a/b@main/c.pt", Source("hf", "a/b", "c.pt", "main")),
        ("hf://a/b@refs/pr/1", Source("hf", "a/b", "", "refs/pr/1")),
        ("hf://a/b/c/d/", Source("hf", "a/b", "c/d/")),
        ("gs://bu.cket/o", Source("gs", "bu.cket", "o")),
        ("gs://bucket/", Source("gs", "bucket")),
        ("https://h/c?x=1", Source("https", "https://h/c?x=1")),
    ],
)
def test_sources(text: str, found: Source) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "hf://a", "hf://a/b//c", "hf://a/b/./c", "gs://b", "gs://b//x", "gs://B/x"),
        *("https://", "http://h/x", "file:///etc/passwd", "hf://a/b c", "gs://b/\0", "s3://b/x"),
    ],
)
def test_no_sources(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|http|it is too long|no path|names no host"):
        parse(text)


def test_what_a_run_reports_while_it_fetches(one_box: BoxHalf, site: Web) -> None:
    begin(one_box, site.url, sha256=SHA256)
    assert any("checkpoint w" in json.dumps(message) for message in one_box.follow())


def _remove(box: BoxHalf) -> None:
    place = box.home / "models/w"
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)

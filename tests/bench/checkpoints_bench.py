"""Fetching a checkpoint: our pull from a bucket, compared with its sha256, against the transfer
manager of its library alone; and from a web server behind a line of 20 ms against one stream over
the same line.

The bucket is an emulator in a process of its own; the line is a proxy that delays what it passes
on, with at most so much on the way as a connection's window holds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devbox.box.checkpoints import provide, source, web
from devbox.box.checkpoints.provide import Wanted
from devbox.box.checkpoints.source import Source, parse
from tests.bench.rows import Row, ms, paired

_DELAY = 0.02  # seconds, there and back
_WINDOW = 1 << 20  # bytes on the way over one connection
_MEGABYTES = 256
_SERVER = """
import http.server, os, re, sys
path, data = sys.argv[1], open(sys.argv[1], "rb")
size = os.path.getsize(path)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = re.match(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range") or "")
        first = int(asked[1]) if asked else 0
        last = int(asked[2]) if asked and asked[2] else size - 1
        self.send_response(206 if asked else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        try:
            with open(path, "rb") as file:
                at = first
                while at <= last:
                    sent = os.sendfile(self.wfile.fileno(), file.fileno(), at, last - at + 1)
                    if not sent:
                        return
                    at += sent
        except OSError:
            pass
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
_BUCKET = """
import sys
from gcp_storage_emulator.server import create_server
server = create_server("localhost", 0, in_memory=True, default_bucket="weights")
server.start()
print(server._api._httpd.server_address[1], flush=True)
sys.stdin.read()
server.stop()
"""


def rows(home: Path, *, runs: int = 3, megabytes: int = _MEGABYTES) -> list[Row]:
    """home: an empty folder."""
    os.environ["DEVBOX_BOX_ROOT"] = str(home / "box")
    file = home / "w.bin"
    with file.open("wb") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(1 << 20))
    return [_bucket(home, file, runs), _web(home, file, runs)]


def _bucket(home: Path, file: Path, runs: int) -> Row:
    with _process(_BUCKET) as port:
        os.environ["STORAGE_EMULATOR_HOST"] = f"http://localhost:{port}"
        from google.cloud import storage
        from google.cloud.storage import transfer_manager

        bucket = storage.Client.create_anonymous_client().bucket("weights")
        bucket.blob("w.bin").upload_from_filename(str(file))

        digest = provide.digest_of(file)

        def ours() -> None:
            shutil.rmtree(home / "ours", ignore_errors=True)
            (home / "ours").mkdir()
            wanted = Wanted("w", home / "ours" / "w.bin", parse("gs://weights/w.bin"), digest)
            provide.provide(wanted, lambda _: None)

        def peer() -> None:
            blob = storage.Client.create_anonymous_client().bucket("weights").get_blob("w.bin")
            transfer_manager.download_chunks_concurrently(
                blob,
                str(home / "peer.bin"),
                chunk_size=32 << 20,
                worker_type=transfer_manager.THREAD,
                max_workers=8,
            )

        a, b, ratio = paired(ours, peer, runs=runs)
    speed = 1 / ratio
    size = file.stat().st_size >> 20
    name = f"checkpoint pull of {size} MB from a bucket"
    return Row(name, ms(a), f"transfer_manager {ms(b)}", f"{speed:.2f}×", "≥ 0.9×", speed >= 0.9)


def _web(home: Path, file: Path, runs: int) -> Row:
    with _process(_SERVER, str(file)) as port, _Line(port) as line:
        url = f"http://127.0.0.1:{line.port}/w.bin"

        def ours() -> None:
            shutil.rmtree(home / "part", ignore_errors=True)
            (home / "part").mkdir()
            web.fetch(Source(source.WEB, url), home / "part", "")

        def peer() -> None:
            with urllib.request.urlopen(url) as answer, (home / "one.bin").open("wb") as out:
                shutil.copyfileobj(answer, out, 1 << 20)

        a, b, ratio = paired(ours, peer, runs=runs)
    speed = 1 / ratio
    size = file.stat().st_size >> 20
    name = f"checkpoint pull of {size} MB, 20 ms away"
    return Row(name, ms(a), f"one stream {ms(b)}", f"{speed:.2f}×", "≥ 2×", speed >= 2)


@contextmanager
def _process(code: str, *words: str) -> Iterator[int]:
    argv = [sys.executable, "-c", code, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class _Line:
    """A proxy to a local port: every byte arrives half of `_DELAY` later, and a connection has at
    most `_WINDOW` bytes on the way at once, as over a long line."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> _Line:
        self._thread.start()
        made = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        )
        self._server = made.result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except OSError:
            return

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Windows of data: each is acknowledged a whole delay after it was sent."""
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(_WINDOW):
                begun = loop.time()
                held = len(data)
                await asyncio.sleep(_DELAY / 2)
                writer.write(data)
                await writer.drain()
                while held < _WINDOW and (left := _DELAY - (loop.time() - begun)) > 0:
                    try:
                        more = await asyncio.wait_for(reader.read(_WINDOW - held), left)
                    except TimeoutError:
                        break
                    if not more:
                        break
                    held += len(more)
                    writer.write(more)
                    await writer.drain()
                if (left := _DELAY - (loop.time() - begun)) > 0 and held >= _WINDOW:
                    await asyncio.sleep(left)
        except OSError:
            pass
        writer.close()

"""What a dev box answers over HTTP, so that its Space counts as running, and a line in its log
twice a minute, from which devbox reads when a Space ended that was paused by somebody else."""

import http.server
import threading
import time

PORT = 7860
EVERY = 30.0
PAGE = b"<!doctype html><title>devbox</title><p>A dev box is running here. It is used over SSH.\n"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Health checks would fill the log."""


def beat() -> None:
    while True:
        print("devbox: alive", flush=True)
        time.sleep(EVERY)


if __name__ == "__main__":
    threading.Thread(target=beat, daemon=True).start()
    http.server.ThreadingHTTPServer(("", PORT), Page).serve_forever()

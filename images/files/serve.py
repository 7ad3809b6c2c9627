"""What a dev box answers over HTTP, so that its Space counts as running, and a line in its log
twice a minute, from which devbox reads when a Space ended that was paused by someone else.

It guards the box too, where it was given a token that may pause it: a box that nobody armed in
time, and one whose watchdog let max_uptime pass, is paused from here."""

import http.client
import http.server
import os
import threading
import time
import urllib.request

PORT = 7860
EVERY = 30.0
LATE = 120.0  # seconds that the watchdog has to pause the box at max_uptime by itself
# Left by whoever arms the watchdog; and by this program when the container began, since it may be
# started again in it.
ARMED = "/tmp/.devbox-armed"  # noqa: S108  why: the container is one user's
BEGAN = "/tmp/.devbox-began"  # noqa: S108  why: as above
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


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        """The token goes to the address it was given for, and to no other."""


def beat() -> None:
    while True:
        print("devbox: alive", flush=True)
        time.sleep(EVERY)


def began() -> float:
    try:
        with open(BEGAN, "x") as file:
            file.write(str(time.time()))
    except FileExistsError:
        pass
    return os.stat(BEGAN).st_mtime


def overdue(lived: float, armed: bool, unarmed: float, longest: float) -> str:
    """Why the box is to be paused now; '' while it is not. unarmed, longest: 0 for never."""
    if not armed and 0 < unarmed <= lived:
        return "nobody armed this box"
    if 0 < longest <= lived - LATE:
        return "its max_uptime is over"
    return ""


def guard() -> None:
    """Asks again at every beat until the box is gone."""
    url, token = os.environ.get("DEVBOX_PAUSE_URL"), os.environ.get("DEVBOX_PAUSE_TOKEN")
    limits = [float(os.environ.get(f"DEVBOX_{key}") or 0) for key in ("UNARMED", "MAX_UPTIME")]
    while url and token:
        why = overdue(time.time() - began(), os.path.exists(ARMED), *limits)
        if why:
            print(f"devbox: {why}; pausing it", flush=True)
            pause(url, token)
        time.sleep(EVERY)


def pause(url: str, token: str) -> bool:
    asked = urllib.request.Request(  # noqa: S310  why: devbox wrote the address
        url, data=b"", method="POST", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.build_opener(NoRedirect).open(asked, timeout=30):
            return True
    except (OSError, http.client.HTTPException) as error:
        print(f"devbox: it was not paused: {error}", flush=True)
        return False


if __name__ == "__main__":
    threading.Thread(target=beat, daemon=True).start()
    threading.Thread(target=guard, daemon=True).start()
    http.server.ThreadingHTTPServer(("", PORT), Page).serve_forever()

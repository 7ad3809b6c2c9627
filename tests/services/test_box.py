"""A service on its box: ready, asked by many at once, counted, drained, failed."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devbox.box.services import watch
from tests.jobs.conftest import BoxHalf, until
from tests.services.conftest import EchoService, ask


def test_it_is_ready_when_its_health_says_so_and_then_no_job_any_more(
    echo: EchoService, home: Path
) -> None:
    warm = home / "warm"
    echo.box.start("s1", module="echo_service", service={"port": 0}, args={"warm": str(warm)})
    until(lambda: echo.state().get("said") == "warming_up")
    assert not echo.state()["ready"]
    assert echo.is_job()
    warm.touch()
    until(lambda: echo.state()["ready"])
    assert echo.state()["since"] == pytest.approx(time.time(), abs=30)
    assert until(lambda: not echo.is_job())
    assert "echo is here" in echo.box.log("s1")
    assert echo.box.job("cancel", "s1")["message"] == "stopped"
    assert not list((echo.box.root / "served").iterdir())
    assert not list((echo.box.root / "serving").iterdir())


def test_one_that_never_gets_ready_holds_the_box_up_no_longer_than_it_may(
    echo: EchoService, home: Path
) -> None:
    service = {"port": 0, "start_timeout": 0.3}
    echo.box.start("s1", module="echo_service", service=service, args={"warm": str(home / "no")})
    until(lambda: not echo.is_job())
    assert not echo.state()["ready"]


def test_32_clients_get_their_own_answers_and_every_refusal_is_told(echo: EchoService) -> None:
    """For two seconds, with a queue that holds half of them: each answer belongs to its request,
    what is refused is a 503 that says when to come back, and nothing is dropped."""
    url = echo.start(args={"waiting": 14}) + "/echo"
    until_ = time.monotonic() + 2.0
    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def client(number: int) -> None:
        turn = 0
        while time.monotonic() < until_:
            turn += 1
            answer = ask(url, {"client": number, "turn": turn})
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) >= 1
            else:
                assert (answer.status, answer.body) == (
                    200,
                    {"echo": {"client": number, "turn": turn}},
                )
            with lock:
                seen[answer.status] += 1

    with ThreadPoolExecutor(32) as clients:
        list(clients.map(client, range(32)))
    health = ask(url.replace("/echo", "/health")).body
    assert (health["refused"], health["busy"], health["queued"]) == (seen[503], 0, 0)
    assert seen[200] > 32
    until(lambda: echo.served() == {"count": seen.total(), "in_flight": 0})
    assert ask(url.replace("/echo", "/nope")).status == 404
    until(lambda: "GET /nope 404" in echo.box.log("s1"))
    assert "503" not in echo.box.log("s1")


def test_stopping_finishes_what_is_in_flight_and_takes_nothing_new(
    echo: EchoService, gate: Path
) -> None:
    """Two at work and three that wait all get their answers."""
    url = echo.start(args={"gate": str(gate)}, grace=30.0)
    with ThreadPoolExecutor(6) as clients:
        held = [clients.submit(ask, f"{url}/echo", {"hold": n}) for n in range(1, 6)]
        until(lambda: ask(f"{url}/health").body["queued"] == 3)
        until(lambda: echo.served() == {"count": 5, "in_flight": 5})
        stopped = clients.submit(echo.box.job, "cancel", "s1")
        until(lambda: not _listens(url))
        assert not stopped.done()
        gate.touch()
        assert [each.result().body for each in held] == [{"echo": {"hold": n}} for n in range(1, 6)]
        status = stopped.result()
    assert (status["state"], status["message"]) == ("cancelled", "stopped")
    assert echo.box.processes("s1") == []


def test_one_that_gives_up_ends_its_run_with_the_reason(echo: EchoService) -> None:
    url = echo.start()
    assert ask(f"{url}/echo", {"fail": True}).status == 200  # in flight, so it is finished
    status = echo.box.end("s1")
    assert (status["state"], status["message"]) == ("failed", "the model is broken")
    assert status["service"]["ready"] is False


def test_an_app_that_cannot_be_made_is_told(echo: EchoService) -> None:
    (echo.box.workdir / "bad_service.py").write_text("def create_app(service): 1 / 0\n")
    echo.box.start("s1", module="bad_service", service={"port": 0})
    status = echo.box.end("s1")
    assert (status["state"], status["reason"]) == ("failed", "exit")
    assert status["message"] == "ZeroDivisionError: division by zero"


def test_a_command_is_told_its_port_and_is_ready_when_it_answers(one_box: BoxHalf) -> None:
    """Its own port is taken, and it may have another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
        one_box.start("s1", command=command, template=True, service={"port": port, "health": "/"})
        until(lambda: (one_box.file("s1")["service"] or {}).get("ready"))
        found = one_box.file("s1")["service"]["port"]
        assert found != port
        assert _listens(f"http://127.0.0.1:{found}")
        again = one_box.start("s2", command=["true"], service={"port": 0})
        assert again["message"] == "service test runs already as s1"
        fixed = {"command": ["sleep", "100"], "service": {"port": port, "health": ""}}
        one_box.start("s2", job="other", template=True, **fixed)
        status = one_box.end("s2")
        assert (status["reason"], status["message"]) == (
            "unprepared",
            f"port {port} of the box is taken: end what listens there, or set another",
        )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (True, "")),
        (b"OK", (True, "")),
        (b"[1]", (True, "")),
        (b'{"ready": true, "status": "loading"}', (True, "")),
        (b'{"ready": false}', (False, "not ready")),
        (b'{"status": "ready"}', (True, "")),
        (b'{"status": "ok"}', (True, "")),
        (b'{"status": "warming_up", "models": {}}', (False, "warming_up")),
        (b'{"status": "Loading"}', (False, "Loading")),
        (b'{"status": "\\u001b[2Jloading"}', (True, "")),
        (b'{"ready": 0, "status": "\\u001b[2Jx"}', (False, "x")),
        (b"[" * 100_000, (True, "")),
    ],
)
def test_what_a_good_answer_says(body: bytes, expected: tuple[bool, str]) -> None:
    assert watch.judge(body) == expected


def test_a_bad_answer_or_none_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert watch.look(port, "") == (True, "")

        def answer(text: bytes) -> tuple[bool, str]:
            def serve() -> None:
                server.accept()[0].close() if not text else None
                while text:
                    link = server.accept()[0]
                    with link:
                        if link.recv(1 << 16):
                            link.sendall(text)
                            return

            thread = threading.Thread(target=serve)
            thread.start()
            found = watch.look(port, "/health")
            thread.join()
            return found

        head = b"HTTP/1.1 "
        assert answer(head + b"503 Busy\r\n\r\n") == (False, "/health answered 503")
        assert answer(head + b"302 Found\r\nLocation: /\r\n\r\n") == (False, "/health answered 302")
        assert answer(b"SSH-2.0-OpenSSH\r\n")[0] is False
        assert answer(head + b"200 OK\r\n\r\n") == (True, "")
    assert watch.look(port, "/health") == (False, "it does not listen yet")


def _listens(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 1).close()
    except ConnectionRefusedError:
        return False
    return True

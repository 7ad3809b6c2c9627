"""A public service: in only with its token, which is nowhere to be read."""

from __future__ import annotations

import shutil
import socket
import sys
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest
import starlette

from devbox import lifecycle
from devbox.errors import Conflict, NotFound, SpecError
from devbox.jobs import queries
from devbox.jobs.follow import Line, follow
from devbox.model import Box
from devbox.providers.base import Provider
from devbox.services import catalogue, public, runs
from devbox.services.ready import until_ready
from devbox.spec import load
from devbox.sync import before
from devbox.workspace import Workspace
from tests import warm
from tests.contract.harness_modal import ModalHarness
from tests.jobs.conftest import until
from tests.services.conftest import ECHO, EchoService, ask

SECRET = "p6rUnGuessable_0123456789-abcdef"
#: what uvicorn and starlette are made of
SITE = PurePosixPath("/root") / Provider.workdir / "site"  # a sandbox's login folder is root's
SERVED_BY = ("starlette", "uvicorn", "anyio", "h11", "click", "idna", "typing_extensions")
DEVBOX = [sys.executable, "-m", "devbox.cli.main"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_only_the_token_opens_it_and_strangers_are_no_use(echo: EchoService) -> None:
    port = free_port()
    url = echo.start(service={"port": port, "expose": True}, secrets={"@token": SECRET})
    assert url.endswith(f":{port}")
    assert ask(f"{url}/health").status == 200
    for wrong in ("", SECRET[:-1], SECRET + "x", SECRET.lower(), "é"):
        try:
            answer = ask(f"{url}/echo", {"a": 1}, token=wrong)
        except UnicodeEncodeError:
            continue  # it cannot even be sent
        assert answer.status == 401
        assert answer.body == {"error": "the token is missing or wrong"}
        assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(f"{url}/health/../echo", {"a": 1}).status in (401, 404)
    assert until(lambda: echo.served() == {"count": 0, "in_flight": 0})
    assert ask(f"{url}/echo", {"a": 1}, token=SECRET).body == {"echo": {"a": 1}}
    until(lambda: echo.served()["count"] == 1)


def test_the_token_is_in_no_file_argument_or_environment_of_the_box(echo: EchoService) -> None:
    echo.start(service={"port": free_port(), "expose": True}, secrets={"@token": SECRET})
    for path in echo.box.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    processes = echo.box.processes("s1")
    assert processes
    for process in processes:
        assert SECRET not in " ".join(process.cmdline())
        assert SECRET not in str(process.environ())


def test_without_its_token_or_its_port_it_does_not_run(echo: EchoService) -> None:
    echo.box.start("s1", module="echo_service", service={"port": free_port(), "expose": True})
    status = echo.box.end("s1")
    assert (status["reason"], status["message"]) == (
        "unprepared", "the token of the public service did not arrive",
    )  # fmt: skip
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        service = {"port": port, "expose": True}
        secrets = {"@token": SECRET}
        echo.box.start("s2", module="echo_service", service=service, secrets=secrets)
        status = echo.box.end("s2")
    assert status["reason"] == "unprepared"
    assert f"port {port} of the box is taken" in status["message"]


def test_a_provider_without_public_urls_says_so_and_starts_nothing(
    local_workspace: Workspace, local_box: Box
) -> None:
    root = local_workspace.spec.root
    (root / "devbox.toml").write_text('[services.e]\nmodule = "echo_service"\nexpose = true\n')
    done = warm.run(
        [*DEVBOX, "serve", "e"], cwd=root, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 5, done.stderr
    assert f"local has no public URL for a port of {local_box.name}" in done.stderr
    assert local_workspace.store.runs.latest() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[services.e]\ncommand = ["a"]\nexpose = true', "only a service with a module"),
        ('[services.e]\nmodule = "a"\nport = 0\nexpose = true', "only a service with a module"),
        ('[services.e]\nmodule = "a"\ntoken = "abc"', "services.e.token"),
        ("[boxes.b]\nexpose = [8000]", "expose is a key of modal boxes"),
        ('[boxes.b]\nprovider = "modal"\nexpose = [0]', "expose"),
    ],
)
def test_what_cannot_be_public_is_refused_where_it_is_written(
    text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "devbox.toml").write_text(text)
    with pytest.raises(SpecError, match=said.replace(".", r"\.")):
        load(tmp_path / "devbox.toml")


def test_a_service_on_modal_is_public_through_its_tunnel(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `up` to an answer at the URL that the provider gives, and only with the token."""
    harness = ModalHarness(home)
    try:
        root = home / "project"
        root.mkdir()
        (root / "echo_service.py").write_text(ECHO)
        for name in SERVED_BY:
            for path in Path(starlette.__file__).parents[1].glob(f"{name}*"):
                into = root / "site" / path.name
                shutil.copytree(path, into) if path.is_dir() else shutil.copy(path, into)
        (root / "devbox.toml").write_text(
            '[boxes.b]\nprovider = "modal"\nhardware = "T4"\nexpose = [8000]\n'
            f'env.PYTHONPATH = "{SITE}"\n'  # it has no network to install from
            '[services.e]\nmodule = "echo_service"\nexpose = true\n'
            '[services.other]\nmodule = "echo_service"\nexpose = true\nport = 8001\n'
        )
        monkeypatch.chdir(root)
        _serve_on_modal(Workspace.open())
    finally:
        harness.close()


def _serve_on_modal(ws: Workspace) -> None:
    lifecycle.up(ws, "b")
    box = ws.box("b")
    before.send(ws, box)
    with pytest.raises(Conflict, match="without port 8001 being public"):
        runs.begin(ws, box, catalogue.find(ws.spec, "other"), {}, {})
    service = catalogue.find(ws.spec, "e")
    run = runs.begin(ws, box, service, {}, {}).run
    with closing(follow(ws, run)) as messages:
        wait = until_ready(messages, run, since=ws.clock(), patience=60.0, clock=ws.clock)
        assert [message for message in wait if isinstance(message, Line)]  # it was followed
    found = public.where(ws, box, service, run)
    assert found.url.startswith("https://127.0.0.1:")
    token_file = Path(found.token_from)
    assert token_file.stat().st_mode & 0o777 == 0o600
    token = token_file.read_text()
    assert len(token) >= 40
    assert token.encode() not in run.request
    # The emulator's tunnel carries bytes as they are: TLS is what Modal adds.
    url = found.url.replace("https://", "http://")
    assert ask(f"{url}/echo", {"a": 1}).status == 401
    assert ask(f"{url}/echo", {"a": 1}, token=token).body == {"echo": {"a": 1}}
    assert queries.cancel(ws, run).state == "cancelled"
    with pytest.raises(NotFound):
        runs.find(ws, "e")
    lifecycle.down(ws, box)

"""What this computer tells: to a webhook, a command, the screen, and services through Apprise."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from devbox import spec
from devbox.cli import main
from devbox.errors import SpecError
from devbox.model import Box, BoxState, Event, Price
from devbox.notify import deliver, news, settings
from devbox.workspace import Workspace
from tests.command_line import Devbox
from tests.notices.receiver import Receiver
from tests.remote.sshd import wait_until

NOW = 1_764_000_000.0
OpenWorkspace = Callable[..., Workspace]


class Now:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as found:
        yield found


@pytest.fixture
def open_ws(home: Path) -> Iterator[OpenWorkspace]:
    made: list[Workspace] = []

    def make(**notify: object) -> Workspace:
        table = msgspec.convert(notify, spec.Notify)
        ws = Workspace(spec.Spec(project="p", root=home, notify=table), clock=Now())
        made.append(ws)
        return ws

    yield make
    for ws in made:
        ws.close()


def tracked(ws: Workspace, name: str = "dev", command: tuple[str, ...] = ()) -> Box:
    box = Box(
        id=f"id-{name}", name=name, provider="hf-job", token=name, state=BoxState.RUNNING,
        hardware="t4", price=Price(600_000), created=NOW, updated=NOW, seen=NOW, project="p",
        root=str(ws.spec.root), spec=spec.encode_box(spec.BoxSpec("hf-job", command=command)),
    )  # fmt: skip
    ws.store.boxes.finish(ws.store.boxes.insert(box, "running", {}, NOW), "done", NOW)
    return box


def keeper(folder: Path) -> tuple[str, ...]:
    """A command that keeps each JSON it is given."""
    keep = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"
    return (sys.executable, "-c", keep, str(folder / "told"))


def kept(folder: Path) -> list[dict[str, object]]:
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_piece_of_news_is_told_once(open_ws: OpenWorkspace, tmp_path: Path) -> None:
    ws = open_ws(on_event=keeper(tmp_path))
    box = tracked(ws)
    ws.store.events.add(box.id, "run-failed", "run train-1 failed: exit code 1", NOW)
    ws.store.events.add(box.id, "state", "running → pausing", NOW)
    assert deliver.is_due(ws)
    assert deliver.deliver(ws) == []
    assert deliver.deliver(ws) == []
    assert not deliver.is_due(ws)
    (told,) = kept(tmp_path)
    assert (told["kind"], told["box"], told["text"], told["command"]) == (
        "run-failed",
        "dev",
        "dev: run train-1 failed: exit code 1",
        "devbox runs --box dev",
    )
    (deliver._home() / "seen").unlink()  # a crash before the cursor was written
    deliver.deliver(ws)
    assert len(kept(tmp_path)) == 1


def test_what_is_old_when_it_is_switched_on_is_no_news(
    open_ws: OpenWorkspace, tmp_path: Path
) -> None:
    ws = open_ws(on_event=keeper(tmp_path))
    box = tracked(ws)
    ws.store.events.add(box.id, "found-paused", "an old story", NOW - 3 * 86400)
    ws.store.events.add(box.id, "found-paused", "a new one", NOW - 60)
    deliver.deliver(ws)
    assert [told["text"] for told in kept(tmp_path)] == ["dev: a new one"]


def test_only_the_wanted_kinds(open_ws: OpenWorkspace, tmp_path: Path) -> None:
    ws = open_ws(on_event=keeper(tmp_path), events=("gpu",))
    box = tracked(ws)
    ws.store.events.add(box.id, "found-paused", "not this", NOW)
    ws.store.events.add(box.id, "gpu-lost", "GPU 0 is lost", NOW)
    deliver.deliver(ws)
    assert [told["kind"] for told in kept(tmp_path)] == ["gpu"]


def test_the_webhook_gets_from_here_what_no_box_posts_itself(
    open_ws: OpenWorkspace, receiver: Receiver
) -> None:
    ws = open_ws(webhook=receiver.url)
    with_watchdog, headless = tracked(ws), tracked(ws, "batch", command=("python", "train.py"))
    for box in (with_watchdog, headless):
        ws.store.events.add(box.id, "run-finished", "run a succeeded", NOW)
    ws.store.events.add(with_watchdog.id, "warning", "would pause in 5m", NOW)
    ws.store.events.add(with_watchdog.id, "build-failed", "the image did not build", NOW)
    ws.store.events.add("", "orphan", "x (h, running) at hf-job carries our tag", NOW)
    ws.store.events.add("", "orphan", "x (h, running) at hf-job carries our tag", NOW + 9)
    deliver.deliver(ws)
    assert [(body["kind"], body["box"]) for body in receiver.bodies] == [
        ("run-finished", "batch"),
        ("build-failed", "dev"),
        ("orphan", ""),
    ]


def test_a_channel_that_fails_holds_up_no_other_and_is_tried_again(
    open_ws: OpenWorkspace, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.replies = [500, 500]
    ws = open_ws(webhook=receiver.url, on_event=keeper(tmp_path))
    box = tracked(ws)
    ws.store.events.add(box.id, "found-paused", "it is paused", NOW)
    for _ in range(3):
        deliver.deliver(ws)
        waits = deliver.waiting(ws.spec.notify)["webhook"]
        ws.clock.at += 60  # type: ignore[attr-defined]
    assert waits.notices == 0
    assert [body["text"] for body in receiver.bodies] == ["dev: it is paused"] * 3
    assert len(kept(tmp_path)) == 1


def test_apprise_takes_it_to_a_service(open_ws: OpenWorkspace, receiver: Receiver) -> None:
    address = receiver.url.replace("http://", "json://")
    ws = open_ws(apprise=(address,))
    box = tracked(ws)
    ws.store.events.add(box.id, "found-paused", "it is paused", NOW)
    assert deliver.deliver(ws) == []
    (body,) = receiver.bodies
    assert body["title"] == "devbox: paused"
    assert body["message"] == "dev: it is paused\ndevbox resume dev"


def test_the_screen_gets_text_and_no_option(
    open_ws: OpenWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nfor each; do echo "$each" >> {tmp_path}/shown; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    ws = open_ws(desktop=True)
    ws.store.events.add("", "orphan", "--icon=/etc/passwd", NOW)
    deliver.deliver(ws)
    shown = (tmp_path / "shown").read_text().splitlines()
    assert shown[:4] == ["--app-name=devbox", "--", "devbox: orphan", "--icon=/etc/passwd"]


@pytest.mark.parametrize(
    "table",
    [
        {"webhook": "http://hooks.example/x"},
        {"webhook": "ftp://hooks.example/x"},
        {"webhook": "hooks.example/x"},
        {"webhook": "https://hooks.example/x", "secret": "the secret itself"},
        {"events": ["everything"]},
    ],
)
def test_a_table_that_cannot_work_is_refused(home: Path, table: dict[str, object]) -> None:
    file = home / "devbox.toml"
    file.write_text("[notify]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in table.items()))
    with pytest.raises(SpecError) as caught:
        spec.load(None, user=file)
    assert "the secret itself" not in caught.value.render()


def test_a_reference_to_something_else_is_refused_when_it_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "http://hooks.example/SECRETPATH")
    with pytest.raises(SpecError) as caught:
        settings.webhook(spec.Notify(webhook="env:HOOK"))
    assert "SECRETPATH" not in caught.value.render()
    monkeypatch.setenv("HOOK", "https://hooks.example/SECRETPATH")
    found = settings.webhook(spec.Notify(webhook="env:HOOK"))
    assert found is not None
    assert found.url == "https://hooks.example/SECRETPATH"


def test_a_project_cannot_have_news_sent_elsewhere_without_trust(project: Path) -> None:
    (project / "devbox.toml").write_text('[notify]\nwebhook = "https://stranger.example/x"\n')
    found = spec.load(project / "devbox.toml")
    assert not found.notify.is_used
    assert "notify" in found.withheld


def test_every_kind_of_event_that_is_told_has_its_command() -> None:
    for kind in news.EVENTS:
        event = msgspec.convert(
            {"id": 1, "box_id": "", "at": NOW, "kind": kind, "message": "m"}, Event
        )
        notice = news.notice(event, None)
        assert notice is not None
        assert notice.command.startswith("devbox ")


def test_a_box_posts_by_itself_what_the_user_configured(
    project: Path, home: Path, devbox: Devbox, receiver: Receiver
) -> None:
    """The whole way: one line of config, `up`, a run that fails, and a test from the box."""
    (home / ".devbox").mkdir(mode=0o700, exist_ok=True)
    devbox_home = Path(os.environ.get("DEVBOX_HOME", home / ".devbox"))
    (devbox_home / "config.toml").write_text(f'[notify]\nwebhook = "{receiver.url}"\n')
    (project / "devbox.toml").write_text("[boxes.b]\n")
    try:
        assert devbox("up", "b").code == 0
        assert devbox("run", "--", "false").code == 11
        wait_until(lambda: len(receiver.posts) >= 1, "the box tells of the run's end", 60)
        assert [body["kind"] for body in receiver.bodies] == ["run-failed"]
        assert devbox("notify", "test", "--box", "b").out.split() == [
            "webhook", "sent", "b", "sent",
        ]  # fmt: skip
        assert [body["kind"] for body in receiver.bodies[1:]] == ["test", "test"]
        main._send_news()
        assert devbox("notify", "ls").out.split()[:3] == ["webhook", "0", "waiting"]
    finally:
        assert devbox("down", "b", "--yes", "--no-save").code == 0


def test_without_any_way_it_says_what_to_add(devbox: Devbox) -> None:
    told = devbox("notify", "test")
    assert told.code == 3
    assert "[notify] webhook" in told.err

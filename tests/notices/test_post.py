"""Requests as a receiver sees them, from the processes that a box really runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as TheirWebhook
from standardwebhooks import WebhookVerificationError

from devbox.box import event_log, json_file
from devbox.box.notices import courier, outbox
from devbox.box.notices import post as posting
from devbox.box.probes.terminals import Terminals
from devbox.box.runs.folder import RunFolder
from devbox.box.watchdog import config
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.effects import BoxEffects
from devbox.wire.codec import plain
from devbox.wire.jobs import Attempt, JobStatus
from devbox.wire.messages import PauseRecipe, Policy, WatchdogConfig
from devbox.wire.notices import Notice, Notify, Webhook
from tests.notices.receiver import LOST, Receiver
from tests.remote.sshd import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the specification's own example
NOTICE = Notice("b1-1-2", 1_764_000_000.5, "pause-soon", "dev", "p", "dev: would pause in 5m")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as found:
        yield found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEVBOX_BOX_ROOT", str(tmp_path))
    return tmp_path


def given(receiver: Receiver, **more: Any) -> WatchdogConfig:
    notify = Notify(Webhook(receiver.url, SECRET), id="b1", project="p")
    return WatchdogConfig("dev", Policy(), None, notify=notify, **more)


def test_the_signature_is_what_the_specification_says(receiver: Receiver) -> None:
    answer = posting.post(NOTICE, Webhook(receiver.url, SECRET))
    assert answer.ok
    ((headers, body),) = receiver.posts
    told = TheirWebhook(SECRET).verify(body, headers)
    assert told["text"] == "dev: would pause in 5m"
    assert told["version"] == 1
    with pytest.raises(WebhookVerificationError):
        TheirWebhook(SECRET).verify(body.replace(b"5m", b"9m"), headers)


@pytest.mark.parametrize("secret", ["plain text", "whsec_not base64!"])
def test_any_text_can_be_the_secret(receiver: Receiver, secret: str) -> None:
    posting.post(NOTICE, Webhook(receiver.url, secret))
    ((headers, _),) = receiver.posts
    assert headers["webhook-signature"].startswith("v1,")
    assert posting.key(secret) == secret.encode()


@pytest.mark.parametrize(
    ("reply", "again", "after"),
    [
        (500, True, 0.0),
        (503, True, 0.0),
        ((429, {"Retry-After": "120"}), True, 120.0),
        ((429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), True, 0.0),
        (LOST, True, 0.0),
        (400, False, 0.0),
        (410, False, 0.0),
        ((302, {"Location": "/elsewhere"}), False, 0.0),
    ],
)
def test_what_a_reply_means(receiver: Receiver, reply: Any, again: bool, after: float) -> None:
    receiver.replies = [reply]
    answer = posting.post(NOTICE, Webhook(receiver.url, SECRET))
    assert (answer.ok, answer.again, answer.after) == (False, again, after)
    assert "SECRETPATH" not in answer.detail
    assert len(receiver.posts) == 1  # a redirect is not followed


def test_plain_http_to_another_machine_is_not_used(root: Path) -> None:
    answer = posting.post(NOTICE, Webhook("http://hooks.example/x", SECRET))
    assert (answer.ok, answer.again) == (False, False)
    readable = Notify(Webhook("http://hooks.example/x"))
    told = plain(WatchdogConfig("dev", Policy(), 1e9, notify=readable))
    with pytest.raises(ValueError, match="not an https address"):
        config.receive(root, told, config.moment())


def test_the_watchdog_posts_what_it_warns_of(root: Path, receiver: Receiver) -> None:
    now = config.moment()
    json_file.write(root / config.FILE, given(receiver))
    receiver.replies = [LOST]
    effects = BoxEffects(root, given(receiver), Terminals(), lambda: None)
    effects.event("warning", "would pause in 5m: idle")
    effects.event("armed", "not for anybody")
    messenger = courier.Courier(root)
    messenger.tick(now)
    finish(messenger)
    state = root / outbox.FOLDER / "state.json"
    assert not outbox.is_due(root, now.wall + 1)
    json_file.write(state, outbox.State())  # as if the wait were over
    messenger.tick(now)
    assert len(receiver.posts) == 1  # not two processes at one moment
    messenger.tick(Moment(now.wall + 6, now.mono + 6))
    finish(messenger)
    assert receiver.ids == [receiver.ids[0]] * 2  # the lost one again, under the same id
    body = receiver.bodies[-1]
    assert (body["kind"], body["box"], body["command"]) == (
        "pause-soon",
        "dev",
        "devbox keep dev 2h",
    )
    assert not outbox.is_due(root, now.wall + 3600)
    printed = b"".join(p.read_bytes() for p in root.rglob("*.json*") if p.name != config.FILE)
    assert SECRET.encode() not in printed


def test_a_pause_is_told_before_it_is_asked_for(root: Path, receiver: Receiver) -> None:
    asked = root / "asked"
    recipe = PauseRecipe("exec", argv=("touch", str(asked)))
    orders = given(receiver, pause=recipe)
    json_file.write(root / config.FILE, orders)
    effects = BoxEffects(root, orders, Terminals(), lambda: None)
    effects.event("pausing", "asking the provider to pause")
    assert not asked.exists()
    assert effects.pause().ok
    assert [body["kind"] for body in receiver.bodies] == ["pausing"]
    assert asked.exists()


def test_the_end_of_a_run_is_told_once_with_how_it_ended(root: Path, receiver: Receiver) -> None:
    json_file.write(root / config.FILE, given(receiver))
    folder = RunFolder("train-1")
    folder.path.mkdir(parents=True)
    ended = JobStatus(
        id="train-1", job="train", state="failed", message="exit code 1", attempt=2,
        attempts=(Attempt(1.0, 62.0),),
    )  # fmt: skip
    now = config.moment().wall
    ended = ended._replace(started=now - 61, ended=now)
    folder.write_status(ended._replace(state="running"))
    assert not outbox.is_due(root, now)
    folder.write_status(ended)
    courier.post_now(root, now)
    folder.write_status(ended)  # a second writer
    courier.post_now(root, now + 10)
    (body,) = receiver.bodies
    assert body["id"] == "b1-run-train-1-2"
    assert body["text"] == "dev: run train-1 failed after 1m: exit code 1"
    assert body["kind"] == "run-failed"


def test_what_could_not_be_told_for_a_day_is_in_the_events(root: Path, receiver: Receiver) -> None:
    json_file.write(root / config.FILE, given(receiver))
    old = NOTICE._replace(t=config.moment().wall - outbox.KEPT - 5)
    outbox.put(root, given(receiver).notify, old)
    courier.post_now(root, config.moment().wall)
    assert receiver.posts == []
    (event,) = event_log.read(root)
    assert (event.kind, event.message) == (
        "notice-lost",
        "not delivered for a day: dev: would pause in 5m",
    )


def finish(messenger: courier.Courier) -> None:
    process = messenger._process
    if process is not None:
        wait_until(lambda: process.poll() is not None, "the post ends", 30)

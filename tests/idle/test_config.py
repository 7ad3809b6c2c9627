"""What the box keeps of its config: an older form is still followed, a broken one never obeyed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devbox.box import processes
from devbox.box.watchdog import config
from devbox.box.watchdog.deadline import Moment

NOW = Moment(1_750_000_000.0, 5000.0)
SENT: dict[str, Any] = {
    "v": 1, "box": "gpu1", "token": "tok",
    "policy": {
        "enabled": True, "after": 1800.0, "warn": 300.0, "stuck_after": 7200.0, "gpu_util": 5.0,
        "cpu_util": 20.0, "ssh_bytes": 2048, "net_bytes": 67108864, "save_command": ["make", "s"],
        "save_timeout": 120.0,
    },
    "deadline": NOW.wall + 3600, "started": NOW.wall, "sent": NOW.wall, "pause": None,
    "workdir": "work", "disk_kept": True, "volumes": ["/data"],
}  # fmt: skip


@pytest.mark.parametrize("boot", ["this one", "an earlier one"])
def test_a_config_of_the_release_before_is_followed(tmp_path: Path, boot: str) -> None:
    armed = {"wall": NOW.wall, "mono": NOW.mono, "boot": boot, "id": "0123"}
    armed["boot"] = processes.boot_id() if boot == "this one" else boot
    (tmp_path / config.FILE).write_text(json.dumps({**SENT, "armed": armed}))
    found = config.read(tmp_path, NOW)
    assert found
    assert found.armed.id == "0123"
    assert found.policy.save_command == ("make", "s")
    ceiling = config.ceiling(found)
    assert ceiling
    assert ceiling.over(NOW) == NOW.mono + 3600


@pytest.mark.parametrize("key", ["box", "policy", "deadline"])
def test_a_config_without_its_deadline_is_refused_and_the_one_before_stays(
    tmp_path: Path, key: str
) -> None:
    before = config.receive(tmp_path, SENT, NOW)
    with pytest.raises(ValueError, match=f"{key} is missing"):
        config.receive(tmp_path, {k: v for k, v in SENT.items() if k != key}, NOW)
    for wrong in ("soon", -1, True, 1e300):
        with pytest.raises(ValueError, match="deadline is not a number"):
            config.receive(tmp_path, {**SENT, "deadline": wrong}, NOW)
    assert config.read(tmp_path, NOW) == before


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://hooks.example/x", True),
        ("http://127.0.0.1:9/x", True),
        ("http://hooks.example/x", False),
        ("ftp://hooks.example/x", False),
        ("hooks.example", False),
    ],
)
def test_notices_are_sent_only_where_nobody_reads_them_on_the_way(
    tmp_path: Path, url: str, fine: bool
) -> None:
    body = {**SENT, "notify": {"webhook": {"url": url, "secret": "s"}}}
    if fine:
        assert config.receive(tmp_path, body, NOW).notify.webhook
    else:
        with pytest.raises(ValueError, match=r"notify\.webhook is not an https address"):
            config.receive(tmp_path, body, NOW)
        assert config.read(tmp_path, NOW) is None

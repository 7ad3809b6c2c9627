"""A box keeps where it was made; a folder's settings are for new boxes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox.errors import UsageError
from devbox.model import Box
from devbox.providers import registry
from devbox.providers.hf.job import HfJob
from devbox.spec import HfSettings, LocalSettings, Providers, Spec, settings_type
from devbox.workspace import Workspace
from tests.core.test_state import a_box

ONE, OTHER = "http://127.0.0.1:1", "http://127.0.0.1:2"


def folder(root: Path, project: str, **settings: object) -> Workspace:
    config = HfSettings(**settings)  # type: ignore[arg-type]
    return Workspace(Spec(project=project, root=root, providers=Providers(hf=config)))


def made_in(ws: Workspace) -> Box:
    return msgspec.structs.replace(
        a_box("b"), provider="hf-job", project=ws.spec.project, connection=ws.connection("hf-job")
    )


def endpoint(ws: Workspace, box: Box) -> str:
    provider = ws.provider_of(box)
    assert isinstance(provider, HfJob)
    return provider._hub.endpoint


def test_another_folder_asks_where_the_box_was_made(home: Path) -> None:
    one = folder(home, "one", endpoint=ONE, pause_token="env:ONE")
    other = folder(home, "other", endpoint=OTHER, pause_token="env:OTHER")
    box = made_in(one)
    assert endpoint(one, box) == endpoint(other, box) == ONE
    assert one.provider_of(box) is one.provider("hf-job")
    assert other.provider_of(box) is other.provider_of(box)
    assert other.settings_of(box) == one.settings_of(box)


def test_what_the_environment_said_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = folder(home, "one")
    monkeypatch.setenv("HF_ENDPOINT", ONE)
    box = made_in(ws)
    monkeypatch.setenv("HF_ENDPOINT", OTHER)
    assert endpoint(folder(home, "one"), box) == ONE


def test_its_own_project_may_change_price_and_pause_token(home: Path) -> None:
    box = made_in(folder(home, "one", endpoint=ONE))
    later = folder(home, "one", endpoint=OTHER, pause_token="env:ONE")
    assert later.settings_of(box) == HfSettings(endpoint=ONE, pause_token="env:ONE")
    here = [
        Workspace(
            Spec(project="p", root=home, providers=Providers(local=LocalSettings(price=price)))
        )
        for price in (2.0, 3.0)
    ]
    local = msgspec.structs.replace(a_box("b"), project="p", connection=here[0].connection("local"))
    assert here[1].settings_of(local) == LocalSettings(price=3.0)


def test_a_row_of_an_older_version_takes_the_folder_s_settings(home: Path) -> None:
    ws = folder(home, "one", endpoint=ONE)
    old = msgspec.structs.replace(made_in(ws), connection=None)
    row = msgspec.to_builtins(old)
    del row["connection"]
    loaded = msgspec.convert(row, Box)
    assert loaded.connection is None
    assert endpoint(folder(home, "other", endpoint=OTHER), loaded) == OTHER


def test_a_value_in_place_of_a_reference_is_never_kept(home: Path) -> None:
    with pytest.raises(UsageError, match="by reference"):
        folder(home, "one", pause_token="hf_the_secret_itself").connection("hf-space")


@pytest.mark.parametrize("name", [n for n in registry.NAMES if n not in ("local", "ssh")])
def test_what_is_resolved_stays_as_it_is(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    found = registry.resolved(name, settings_type(name)())
    assert found != settings_type(name)()
    assert registry.resolved(name, found) == found

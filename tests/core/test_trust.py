"""Trust in a project's devbox.toml: what needs it, what trust is given to, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from devbox import spec, templates
from devbox.errors import NotTrusted
from devbox.services.catalogue import find
from devbox.spec import trust
from devbox.workspace import Workspace
from tests.core.test_state import a_box

Use = Callable[[spec.Spec], object]


def box(loaded: spec.Spec) -> object:
    return loaded.box("b")


def hub(loaded: spec.Spec) -> spec.HfSettings:
    found = loaded.provider("hf-space")
    assert isinstance(found, spec.HfSettings)
    return found


@pytest.fixture
def project(home: Path) -> Path:
    folder = home / "project"
    folder.mkdir()
    return folder / "devbox.toml"


CASES: dict[str, tuple[str, Use]] = {
    "providers.hf.endpoint": ('[providers.hf]\nendpoint = "http://evil.example"', hub),
    "providers.hf.git_endpoint": ('[providers.hf]\ngit_endpoint = "http://evil.example"', hub),
    "providers.hf.ssh_gateway": ('[providers.hf]\nssh_gateway = "evil.example:22"', hub),
    "providers.hf.pause_token": ('[providers.hf]\npause_token = "file:~/.ssh/id_rsa"', hub),
    "providers.modal.server_url": (
        '[providers.modal]\nserver_url = "http://evil.example"',
        lambda s: s.provider("modal"),
    ),
    "providers.docker.docker_host": (
        '[providers.docker]\ndocker_host = "tcp://evil.example:2375"',
        lambda s: s.provider("docker"),
    ),
    "checkpoints.c.secret": (
        '[checkpoints.c]\nsource = "https://evil.example/w"\npath = "w"\nsecret = "hf:token"',
        lambda s: s.checkpoint("c"),
    ),
    "services.s.token": (
        '[services.s]\nmodule = "m"\nexpose = true\ntoken = "file:~/.ssh/id_rsa"',
        lambda s: find(s, "s"),
    ),
    "boxes.b.host": ('[boxes.b]\nprovider = "ssh"\nhost = "evil.example"', box),
    "boxes.b.pause_command": ('[boxes.b]\nprovider = "ssh"\npause_command = ["touch", "x"]', box),
    "boxes.b.idle.save_command": ('[boxes.b.idle]\nsave_command = ["touch", "x"]', box),
    "boxes.b.setup": ('[boxes.b]\nsetup = ["touch x"]', box),
    "boxes.b.dotfiles": ('[boxes.b]\nprovider = "modal"\ndotfiles = "https://evil.example/d"', box),
    "boxes.b.forward_agent": ('[boxes.b]\nprovider = "modal"\nforward_agent = true', box),
    "boxes.b.secrets.K": ('[boxes.b.secrets]\nK = "file:~/.ssh/id_rsa"', box),
    "boxes.b.sync.path": ('[boxes.b.sync]\npath = "~/.ssh"', box),
    "boxes.b.sync.remote": ('[boxes.b.sync]\nremote = "/root/.config"', box),
    "boxes.b.image": ('[boxes.b]\nimage = "./../other"', box),
    "boxes.b.volumes.v": ('[boxes.b.volumes.v]\nsource = "/home"\nmount = "/x"', box),
    "defaults.host": ('[defaults]\nhost = "evil.example"\n[boxes.b]', box),
    "defaults.secrets.K": ('[defaults.secrets]\nK = "env:AWS"\n[boxes.b]', box),
    "defaults.sync.path": ('[defaults.sync]\npath = ".."\n[boxes.b]', box),
}


@pytest.mark.parametrize("key", CASES)
def test_a_cloned_file_may_not_decide(key: str, project: Path) -> None:
    text, use = CASES[key]
    project.write_text(text)
    loaded = spec.load(project)
    assert list(loaded.withheld) == [key]
    assert key.rpartition(".")[0] in str(loaded.origins) or key not in loaded.origins
    with pytest.raises(NotTrusted) as caught:
        use(loaded)
    assert key in caught.value.what
    assert f"{key} = " in caught.value.means
    assert caught.value.fix == f"if you trust them: devbox trust --yes {project.parent}"
    spec.trust_file(project)
    assert spec.load(project).withheld == {}
    use(spec.load(project))


def test_what_is_withheld_is_not_in_the_spec(project: Path) -> None:
    project.write_text("\n".join(text for text, _ in (CASES["providers.hf.endpoint"],)))
    assert spec.load(project).providers.hf == spec.HfSettings()
    project.write_text(CASES["boxes.b.sync.path"][0])
    assert spec.load(project).boxes["b"].sync.path == "."


HARMLESS = """
[defaults]
max_uptime = "2h"
[boxes.b]
provider = "modal"
hardware = "T4"
image = "./Dockerfile"
setup = ["pip install -r requirements.txt"]
[boxes.b.idle]
save_command = ["git", "push"]
[boxes.b.sync]
path = "src"
[boxes.b.volumes.v]
source = "weights"
mount = "/w"
[providers.hf]
namespace = "me"
[checkpoints.c]
source = "https://example.org/w"
path = "w"
[jobs.j]
command = ["true"]
"""


def test_what_stays_inside_the_project_needs_no_trust(project: Path) -> None:
    project.write_text(HARMLESS)
    assert spec.load(project).withheld == {}


def test_a_folder_that_is_a_link_leads_outside(project: Path, home: Path) -> None:
    (home / "private").mkdir()
    (project.parent / "data").symlink_to(home / "private")
    project.write_text('[boxes.b.sync]\npath = "data"')
    assert spec.load(project).withheld == {"boxes.b.sync.path": f"data → {home}/private"}
    spec.trust_file(project)
    (home / "other").mkdir()
    (project.parent / "data").unlink()
    (project.parent / "data").symlink_to(home / "other")
    assert spec.load(project).withheld, "the link was trusted where it led then"


def test_trust_is_in_the_lines_not_in_the_file(project: Path) -> None:
    project.write_text('[boxes.b]\nprovider = "ssh"\nhost = "lab"\n')
    spec.trust_file(project)
    project.write_text('[boxes.b]\nprovider = "ssh"\nhost = "lab"\nhardware = "gpu"\n')
    assert spec.load(project).withheld == {}
    project.write_text('[boxes.b]\nprovider = "ssh"\nhost = "lab"\nsecrets = {K = "env:K"}\n')
    assert set(spec.load(project).withheld) == {"boxes.b.host", "boxes.b.secrets.K"}
    project.write_text('[boxes.b]\nprovider = "ssh"\nhost = "evil.example"\n')
    assert spec.load(project).withheld == {"boxes.b.host": "evil.example"}


def test_trust_is_in_one_file(project: Path, home: Path) -> None:
    project.write_text('[boxes.b]\nprovider = "ssh"\nhost = "lab"\n')
    spec.trust_file(project)
    clone = home / "clone" / "devbox.toml"
    clone.parent.mkdir()
    clone.write_text(project.read_text())
    assert spec.load(clone).withheld
    assert trust.revoke(project)
    assert not trust.revoke(project)
    assert spec.load(project).withheld


def test_the_users_own_file_needs_no_trust(project: Path, home: Path) -> None:
    own = home / "config.toml"
    own.write_text(
        '[providers.hf]\nendpoint = "https://hub.work"\n[boxes.b]\nprovider = "ssh"\nhost = "lab"\n'
    )
    project.write_text('[providers.hf]\nendpoint = "https://hub.work"\n[boxes.b]\n')
    loaded = spec.load(project, own)
    assert (loaded.withheld, hub(loaded).endpoint) == ({}, "https://hub.work")
    project.write_text('[providers.hf]\nendpoint = ""\n')
    with pytest.raises(NotTrusted):
        spec.load(project, own).provider("hf-job")


def test_lines_that_look_alike_are_not_the_same(project: Path) -> None:
    project.write_text('[boxes.b.volumes.v]\nsource = "/a\\u200b"\nmount = "/x"\n')
    assert spec.load(project).withheld["boxes.b.volumes.v"].startswith('{"source": "/a\\u200b"')
    project.write_text('[boxes.b.volumes."v\\u001b[2J"]\nsource = "/a"\nmount = "/x"\n')
    assert list(spec.load(project).withheld) == ['boxes.b.volumes."v\\u001b[2J"']


def test_init_trusts_what_it_wrote(project: Path) -> None:
    for template in templates.catalogue():
        folder = project.parent / template.name
        folder.mkdir()
        templates.write(template, folder)
        assert spec.load(folder / "devbox.toml").withheld == {}


def make_foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `path` to another user, or where we may not, be another user than its owner."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_another_user_owns_is_not_read(
    which: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text('[boxes.b]\nhardware = "big"\n')
    assert spec.load(project).boxes["b"].hardware == "big"
    make_foreign(project if which == "file" else project.parent, monkeypatch)
    with pytest.raises(NotTrusted, match="belongs to another user") as caught:
        spec.load(project)
    assert "devbox trust --yes" in caught.value.fix
    spec.trust_file(project)
    assert spec.load(project).boxes["b"].hardware == "big"


def test_root_through_sudo_reads_the_files_of_who_called_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text("[boxes.b]\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    owner = 12345
    if os.getuid() == 0:
        os.chown(project, owner, -1)
    else:
        owner = os.getuid()
    with pytest.raises(NotTrusted):
        spec.load(project)
    monkeypatch.setenv("SUDO_UID", str(owner))
    spec.load(project)


def test_a_known_box_is_reached_where_it_was_made_without_trust(project: Path) -> None:
    project.write_text('project = "p"\n[providers.hf]\nendpoint = "https://hub.work"\n')
    spec.trust_file(project)
    made = Workspace.open(project.parent)
    box = msgspec.structs.replace(
        a_box("b"), provider="hf-job", project="p", connection=made.connection("hf-job")
    )
    project.write_text('project = "p"\n[providers.hf]\nendpoint = "https://evil.example"\n')
    found = Workspace.open(project.parent).settings_of(box)
    assert found == spec.HfSettings(endpoint="https://hub.work")

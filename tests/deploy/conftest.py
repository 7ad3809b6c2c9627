"""A project in git and a Space: its repository as a bare one on disk, as the emulated Hub speaks
no git, and all else of it at that Hub."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from devbox import spec
from devbox.deploy import target
from devbox.deploy.target import Target
from devbox.workspace import Workspace
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import Devbox, devbox, hub

__all__ = ["Devbox", "devbox", "hub"]

SPACE = "me/app"
DOCKERFILE = "FROM python:3.12\nCOPY . /app\n"
README = "---\ntitle: app\nsdk: docker\n---\n"


class Git:
    """git in one folder, as a user uses it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.root), *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {words}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, title: str, **files: str | bytes) -> str:
        """Write the files (their dots as `_`), commit all; the commit's id."""
        for name, content in files.items():
            self.write(name.replace("_", "."), content)
        self("add", "-A")
        self("commit", "-q", "-m", title)
        return self("rev-parse", "HEAD")

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def identity(home: Path) -> None:
    (home / ".gitconfig").write_text(
        "[user]\n name = A Person\n email = a@example.org\n[init]\n defaultBranch = main\n"
    )


@pytest.fixture
def bare(home: Path, identity: None) -> Git:
    """The Space's repository, empty."""
    made = Git(home / "server" / "spaces" / "me" / "app")
    made("init", "-q", "--bare")
    return made


@pytest.fixture
def project(home: Path, identity: None) -> Git:
    """A project with one commit."""
    made = Git(home / "project")
    made("init", "-q")
    made.write("devbox.toml", toml(home))
    spec.trust_file(made.root / "devbox.toml")
    made.commit("first", main_py="print('hello')\n", Dockerfile=DOCKERFILE, README_md=README)
    return made


def toml(home: Path) -> str:
    return (
        f'project = "p"\n[boxes.app]\nprovider = "hf-space"\nspace = "{SPACE}"\n'
        f'[providers.hf]\ngit_endpoint = "file://{home}/server"\n'
    )


@pytest.fixture
def said() -> list[str]:
    """What was narrated."""
    return []


@pytest.fixture
def ws(project: Git, hub: HfEmulator, said: list[str]) -> Iterator[Workspace]:
    made = Workspace(spec.load(project.root / "devbox.toml"), narrate=said.append)
    yield made
    made.store.close()


@pytest.fixture
def space(ws: Workspace) -> Target:
    return target.find(ws, None)


@pytest.fixture
def api(hub: HfEmulator) -> HfApi:
    """The user's own client, with the Space made on the Hub's page."""
    made = HfApi(endpoint=hub.endpoint, token=hub.token)
    made.create_repo(SPACE, repo_type="space", space_sdk="docker")
    return made


MakeClone = Callable[[], Git]


@pytest.fixture
def clone(bare: Git, home: Path) -> MakeClone:
    """Someone else's clone of the Space's repository."""

    def make() -> Git:
        subprocess.run(
            ["git", "clone", "-q", str(bare.root), str(home / "other")], check=True, timeout=30
        )
        return Git(home / "other")

    return make

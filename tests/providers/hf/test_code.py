"""What of a project goes into a Space, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox.errors import UsageError
from devbox.providers.hf import image, project_files, upload
from devbox.providers.hf.space import HfSpace
from devbox.spec import BoxSpec, Sync
from tests.boxes import request_for
from tests.emulators.hf import HfEmulator
from tests.emulators.hf.space import Space

BOX = BoxSpec(provider="hf-space")


@pytest.fixture
def root(home: Path) -> Path:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text("")
    return folder


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def kept(root: Path, sync: Sync | None = None) -> set[str]:
    return set(project_files.collect(str(root), sync or Sync())) - {"devbox.toml"}


def test_ignore_files_are_kept_to(root: Path) -> None:
    for path in ("a.py", "a.log", "keep.log", "data/x.bin", "sub/y.bin", "sub/z.txt", "n/n.tmp"):
        write(root, **{path.replace("/", "__"): "x"})
    (root / ".gitignore").write_text("*.log\n!keep.log\ndata/\n")
    (root / "sub" / ".gitignore").write_text("*.bin\n")
    (root / ".dockerignore").write_text("n\n*.txt\n!n/kept\nDockerfile\n")
    write(root, n__kept="x", Dockerfile="FROM x")
    expected = {"a.py", "keep.log", "sub/z.txt", "n/kept", "Dockerfile"}
    ignores = {".gitignore", "sub/.gitignore", ".dockerignore"}
    assert kept(root) == expected | ignores
    assert "a.log" in kept(root, Sync(include=("a.log",)))
    assert "a.py" not in kept(root, Sync(exclude=("*.py",)))
    assert "data/x.bin" in kept(root, Sync(ignore_files=False))


def test_junk_and_symlinks_stay_behind(root: Path) -> None:
    write(root, _dot_git__config="x", __venv__x="x", a__b="x")
    (root / ".git").mkdir(exist_ok=True)
    (root / ".git" / "config").write_text("x")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "m.js").write_text("x")
    (root / "link").symlink_to("/etc/passwd")
    assert not {path for path in kept(root) if "git/" in path or "node" in path or path == "link"}


def test_a_folder_without_devbox_toml_is_no_project(home: Path) -> None:
    (home / "diary.txt").write_text("dear diary")
    assert project_files.collect(str(home), Sync()) == {}
    assert project_files.collect("", Sync()) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "A=1"),
        ("conf/.env.local", "A=1"),
        ("deploy.pem", "content of it"),
        ("id_ed25519", "content of it"),
        ("settings.py", "TOKEN = 'hf_" + "a" * 34 + "'"),
        ("aws.cfg", "AKIA" + "ABCDEFGHIJKLMNOP"),
        ("key.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
        ("gh.py", "ghp_" + "b" * 36),
    ],
)
def test_likely_secrets_are_refused(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        project_files.collect(str(root), Sync())
    assert name in caught.value.what
    assert text not in caught.value.render()
    (root / ".gitignore").write_text(f"/{name}\n")
    assert name not in kept(root)


def test_examples_of_env_files_are_no_secrets(root: Path) -> None:
    (root / ".env.example").write_text("A=\n")
    assert ".env.example" in kept(root)


def test_too_much_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_files, "_MOST_FILES", 3)
    for number in range(4):
        (root / f"{number}").write_text("x")
    with pytest.raises(UsageError, match="too much"):
        project_files.collect(str(root), Sync())


def test_the_metadata_goes_above_the_projects_own_words() -> None:
    made = image.complete({"README.md": b"# Mine\n"}, "box", "cpu")
    assert made["README.md"].startswith(b"---\ntitle: box\n")
    assert made["README.md"].endswith(b"---\n# Mine\n")
    assert b"BASE=python:3.12" in made["Dockerfile"]
    assert {"Dockerfile", ".devbox-image/serve.py"} <= set(made)
    mine = image.complete({}, "box", "cpu", {"PIP_INDEX": "https://h/packages"})
    assert b'\nARG PIP_INDEX="https://h/packages"\n' in mine["Dockerfile"]
    own = {"README.md": b"---\ntitle: x\nsdk: docker\n---\n", "Dockerfile": b"FROM x"}
    assert image.complete(own, "box", "cpu") == {}
    assert not image.has_metadata(b"---\ntitle: x\n---\nsdk: not metadata\n")


@pytest.mark.parametrize("bad", ["", "nonsense", "a b:c", "x\nRUN evil:1", "-v/x"])
def test_an_image_is_a_known_name_or_a_reference(bad: str) -> None:
    with pytest.raises(UsageError):
        image.base(bad)
    assert image.base("registry.example/me/img:1") == "registry.example/me/img:1"


def test_one_commit_of_what_changed(hub: HfEmulator, space: HfSpace, root: Path) -> None:
    write(root, main_dot_py="print(1)")
    (root / "gone.txt").write_text("x")
    (root / "large.bin").write_bytes(b"\0\1" * 1000)
    request = request_for("b", BOX, hardware="t4-small", root=str(root))
    made = hub.spaces[space.create(request)]
    assert [commit.title for commit in made.repo.commits][2:] == ["Update from devbox"]
    assert made.repo.files["large.bin"].lfs
    assert space.create(request) == made.id
    assert len(made.repo.commits) == 3
    (root / "gone.txt").unlink()
    (root / "new.py").write_text("2")
    before = {path: file.oid for path, file in made.repo.files.items()}
    space.create(request)
    assert len(made.repo.commits) == 4
    after = {path: file.oid for path, file in made.repo.files.items()}
    assert before.items() - after.items() == {("gone.txt", before["gone.txt"])}
    assert set(after) - set(before) == {"new.py"}
    assert_builds(made)


def assert_builds(made: Space) -> None:
    assert made.stage in {"BUILDING", "APP_STARTING", "RUNNING", "RUNNING_BUILDING"}


def test_an_adopted_space_keeps_its_own_image(root: Path) -> None:
    (root / "README.md").write_text("# words\n")
    (root / "main.py").write_text("x")
    files = upload.wanted("b", BOX, str(root), adopted=True)
    assert set(files) == {"devbox.toml", "main.py"}
    (root / "README.md").write_text("---\nsdk: docker\n---\n")
    assert "README.md" in upload.wanted("b", BOX, str(root), adopted=True)

"""Image builds, as the real client asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import modal
import pytest

from tests.emulators.common import Clock, Fault
from tests.emulators.modal import ModalEmulator
from tests.emulators.modal.conftest import INSTANT, Workspace, output
from tests.emulators.modal.dockerfile import command, expand, parse

Connect = Callable[[ModalEmulator], modal.Client]


def said(emulator: ModalEmulator) -> str:
    return "".join(line.text for image in emulator.images.values() for line in image.log.items)


def test_commands_really_run_and_downloads_are_passed_over(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    image = (
        modal.Image.from_registry("nvidia/cuda:12.4.0-runtime-ubuntu22.04", add_python="3.11")
        .apt_install("rsync")
        .pip_install("torch")
        .run_commands("mkdir -p /opt/box && echo built >/opt/box/made", "false")
        .env({"BOX": "1", "PATH": "/opt/box:$PATH"})
        .workdir("/opt/box")
        .entrypoint(["/bin/sh", "-c", 'echo "$0" "$BOX" >/opt/box/started; exec "$@"', "entry"])
    )
    sandbox = workspace.create("sleep", "100", image=image)
    shown = output(sandbox, "sh", "-c", "pwd; cat made started; echo $PATH")
    assert shown.startswith("/opt/box\nbuilt\nentry 1\n/opt/box:")
    log = said(emulator)
    assert "not run: apt-get install -y rsync" in log
    assert "not run: python -m pip install torch" in log
    assert "passed over, command exited with status 1: RUN false" in log
    assert "RUN apt-get update" in emulator.images[sandbox_image(emulator, sandbox)].commands


def sandbox_image(emulator: ModalEmulator, sandbox: modal.Sandbox) -> str:
    return emulator.sandboxes[sandbox.object_id].image.id


@pytest.mark.parametrize("copy", [True, False])
def test_local_files_arrive_with_their_modes(
    workspace: Workspace, tmp_path: Path, copy: bool
) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/data").write_text("data")
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)
    image = modal.Image.debian_slim().add_local_dir(tree, "/srv/tree", copy=copy)
    image = image.add_local_file(tool, "/usr/local/bin/tool", copy=copy)
    sandbox = workspace.create(image=image)
    assert output(sandbox, "sh", "-c", "cat /srv/tree/sub/data; tool") == "datatool\n"


def test_a_dockerfile_with_copy_and_arguments(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:12\n# a comment\nARG LEVEL=one\nENV SHOWN=$LEVEL OTHER='a b'\n"
        "WORKDIR /app\nCOPY --chmod=600 requirements.txt ./\n"
        "RUN set -e; \\\n    cp requirements.txt kept; \\\n    echo done >>kept\n"
        'CMD ["sleep", "1000"]\n'
    )
    image = modal.Image.from_dockerfile(tmp_path / "Dockerfile", context_dir=tmp_path)
    sandbox = workspace.create(image=image)
    assert output(sandbox, "sh", "-c", "cat /app/kept; echo $SHOWN-$OTHER") == (
        "numpy\ndone\none-a b\n"
    )


def test_a_built_image_is_used_again(emulator: ModalEmulator, workspace: Workspace) -> None:
    for _ in range(2):
        workspace.create(image=modal.Image.debian_slim().run_commands("true"))
    assert len(emulator.images) == 2
    assert len({sandbox.image.id for sandbox in emulator.sandboxes.values()}) == 1


def test_a_failed_build_says_why_and_can_be_tried_again(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    emulator.knobs.set("ImageGetOrCreate", Fault.build_error("E: Unable to locate package rsync"))
    with pytest.raises(modal.exception.ImageBuildError) as caught:
        workspace.create(image=modal.Image.debian_slim())
    assert "exit status: 1" in str(caught.value)
    assert "E: Unable to locate package rsync\n" in said(emulator)
    assert emulator.sandboxes == {}
    workspace.create(image=modal.Image.debian_slim())


def test_a_strict_build_fails_with_its_command(connect: Connect) -> None:
    with ModalEmulator(clock=Clock.manual(), stages=INSTANT, strict_builds=True) as emulator:
        workspace = Workspace(connect(emulator))
        with pytest.raises(modal.exception.ImageBuildError, match="status 7: RUN exit 7"):
            workspace.create(image=modal.Image.debian_slim().run_commands("exit 7"))


def test_dockerfile_lines_are_joined_and_split() -> None:
    run, copy = parse(["RUN a && \\\n # note\n  b", "COPY --chmod=755 x /y"])
    assert run.rest.split() == ["a", "&&", "b"]
    assert (copy.flags, copy.rest) == ({"chmod": "755"}, "x /y")
    lines = ["RUN <<EOF", "one", "two", "EOF", "RUN cat <<'E' >f", "x", "E"]
    assert [each.rest for each in parse(lines)] == ["one\ntwo", "cat <<'E' >f\nx\nE"]
    with pytest.raises(ValueError, match="unknown instruction: CP"):
        parse(["CP a b"])
    assert expand("$A/${B:-two}/\\$C", {"A": "one"}) == "one/two/$C"
    assert command('["a", "b"]') == ["a", "b"]
    assert command("a b") == ["/bin/sh", "-c", "a b"]

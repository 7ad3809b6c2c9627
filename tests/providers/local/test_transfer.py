"""Files by scp (both protocols), sftp and rsync, with the real tools."""

from __future__ import annotations

import filecmp
import os
import subprocess
from pathlib import Path

import pytest

from devbox.remote import command
from tests.providers.local.conftest import Client


@pytest.fixture
def tree(home: Path) -> Path:
    """A folder with what people have: spaces, empty files, links, modes, some size."""
    tree = home / "tree"
    for index in range(120):
        path = tree / f"d {index % 7}" / f"f{index}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(index * 37))
    (tree / "big").write_bytes(os.urandom(8_000_000))
    (tree / "ünïcode").write_text("x")
    (tree / "link").symlink_to("big")
    (tree / "tool").write_text("#!/bin/sh\n")
    (tree / "tool").chmod(0o755)
    return tree


@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_scp_both_ways(client: Client, tree: Path, home: Path, protocol: str) -> None:
    scp = ["scp", "-q", "-p", "-r", *client.options, *client.alone, protocol]
    there = f"{client.box.alias}:work"
    subprocess.run([*scp, str(tree), there], check=True, timeout=60)
    subprocess.run([*scp, f"{there}/tree", str(home / "back")], check=True, timeout=60)
    assert same(tree, home / "back")
    assert os.access(home / "back" / "tool", os.X_OK)


def test_scp_of_a_missing_file_fails(client: Client, home: Path) -> None:
    scp = ["scp", "-q", *client.options, *client.alone, f"{client.box.alias}:nothing", str(home)]
    done = subprocess.run(scp, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"No such file" in done.stderr


def test_sftp_batch(client: Client, tree: Path, home: Path, box_home: Path) -> None:
    batch = (
        f"pwd\nput {tree}/big work/one\nrename work/one work/two\nchmod 600 work/two\n"
        f"mkdir sub\nsymlink work/two sub/l\nget work/two {home}/back\nls -l work\nrm work/two\n"
        "rmdir nothing_here\n"
    )
    done = subprocess.run(
        ["sftp", *client.options, *client.alone, "-b", "-", client.box.alias],
        input=batch.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, "the last line fails on purpose"
    assert f"Remote working directory: {box_home}".encode() in done.stdout
    assert filecmp.cmp(tree / "big", home / "back", shallow=False)
    assert not (box_home / "work/two").exists()
    assert os.readlink(box_home / "sub/l") == "work/two"


def test_rsync_both_ways_and_again(client: Client, tree: Path, home: Path) -> None:
    rsync = ["rsync", "-a", "--stats", "-e", command.rsh()]
    there = f"{client.box.alias}:work/tree/"
    subprocess.run([*rsync, f"{tree}/", there], check=True, capture_output=True, timeout=60)
    again = subprocess.run([*rsync, f"{tree}/", there], check=True, capture_output=True, timeout=60)
    assert b"Number of regular files transferred: 0" in again.stdout
    subprocess.run([*rsync, there, f"{home}/back/"], check=True, capture_output=True, timeout=60)
    assert same(tree, home / "back")
    client_exit(client)


def test_a_tar_stream_both_ways(client: Client, tree: Path, home: Path) -> None:
    """What VS Code and many scripts do."""
    packed = subprocess.run(["tar", "-C", tree, "-cf", "-", "."], capture_output=True, check=True)
    client.out("mkdir t && tar -C t -xf -", data=packed.stdout)
    back = client.run("tar -C t -cf - .").stdout
    (home / "back").mkdir()
    subprocess.run(["tar", "-C", home / "back", "-xf", "-"], input=back, check=True)
    assert same(tree, home / "back")


def same(one: Path, two: Path) -> bool:
    return subprocess.run(["diff", "-r", one, two], check=False, capture_output=True).stdout == b""


def client_exit(client: Client) -> None:
    """Close the shared connection that rsync's ssh left open."""
    subprocess.run(
        ["ssh", *client.options, "-O", "exit", client.box.alias], capture_output=True, check=False
    )

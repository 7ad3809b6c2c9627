#!/usr/bin/python3
"""Stand-in for Modal's ``modal-sandbox-fs-tools``, copied into every machine.

``modal/_utils/sandbox_fs_utils.py`` builds its one JSON argument and reads its
errors: a JSON object with ``error_kind`` and ``message`` on stderr. Standard
library only; runs under whatever ``python3`` the machine has.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import stat
import sys
from typing import Any

READ_LIMIT = 5 * 1024**3
KINDS = {
    FileNotFoundError: "NotFound",
    NotADirectoryError: "NotDirectory",
    IsADirectoryError: "IsDirectory",
    PermissionError: "PermissionDenied",
    FileExistsError: "PathAlreadyExists",
}


class Refused(Exception):
    """An error kind that the client maps to an exception of its own."""


def main() -> int:
    ((operation, arguments),) = json.loads(sys.argv[1]).items()
    tool = OPERATIONS.get(operation)
    try:
        if tool is None:
            raise Refused("NotSupported", f"the emulator has no {operation}")
        tool(**arguments)
    except Refused as refused:
        return fail(*refused.args)
    except OSError as error:
        kinds = [kind for known, kind in KINDS.items() if isinstance(error, known)]
        return fail(kinds[0] if kinds else "Other", error.strerror or str(error))
    return 0


def fail(kind: str, message: str) -> int:
    print(json.dumps({"error_kind": kind, "message": message}), file=sys.stderr)
    return 1


def write_file(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except FileExistsError:
        raise Refused("NotDirectory", "Not a directory") from None
    with open(path, "wb") as target:
        shutil.copyfileobj(sys.stdin.buffer, target)


def read_file(path: str) -> None:
    if os.stat(path).st_size > READ_LIMIT:
        raise Refused("FileTooLarge", "File too large")
    with open(path, "rb") as source:
        shutil.copyfileobj(source, sys.stdout.buffer)


def list_files(path: str) -> None:
    names = sorted(os.listdir(path))
    print(json.dumps([describe(os.path.join(path, name)) for name in names]))


def show_stat(path: str) -> None:
    print(json.dumps(describe(path)))


def make_directory(path: str, parents: bool) -> None:
    if parents:
        os.makedirs(path, exist_ok=True)
    else:
        os.mkdir(path)


def remove(path: str, recursive: bool) -> None:
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
    elif recursive:
        shutil.rmtree(path)
    elif os.listdir(path):
        raise Refused("DirectoryNotEmpty", "Directory not empty")
    else:
        os.rmdir(path)


def describe(path: str) -> dict[str, Any]:
    found = os.lstat(path)
    kind = "file"
    if stat.S_ISDIR(found.st_mode):
        kind = "directory"
    elif stat.S_ISLNK(found.st_mode):
        kind = "symlink"
    return {
        "name": os.path.basename(path) or "/",
        "path": path,
        "type": kind,
        "size": found.st_size,
        "mode": found.st_mode & 0o7777,
        "permissions": stat.filemode(found.st_mode),
        "owner": owner_name(found.st_uid),
        "group": group_name(found.st_gid),
        "modified_time": found.st_mtime,
        "symlink_target": os.readlink(path) if kind == "symlink" else None,
    }


def owner_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


OPERATIONS: dict[str, Any] = {
    "WriteFile": write_file,
    "ReadFile": read_file,
    "ListFiles": list_files,
    "Stat": show_stat,
    "MakeDirectory": make_directory,
    "Remove": remove,
}


if __name__ == "__main__":
    sys.exit(main())

"""What ssh makes of a config file: the check after every write."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import PurePath

from devbox.errors import DevboxError, SshError, ToolMissing
from devbox.process import run
from devbox.text import clean

PATIENCE = 20.0  # seconds for ssh to read a config, whose `Match exec` may run programs
# What lets ssh read a file that wants a command, or a name that resolves, for every host.
_ONLY_READ = ("-N", "-o", "CanonicalizeHostname=no")


def keywords(program: str = "ssh") -> frozenset[str]:
    """What `ssh -G` lists: the settings this version knows, in lower case. ToolMissing without
    ssh; empty where it does not tell. Each ssh is asked once."""
    return _keywords(shutil.which(program) or program)


@cache
def _keywords(program: str) -> frozenset[str]:
    done = run([program, "-F", "none", "-G", "--", "x"], check=False, timeout=PATIENCE)
    return frozenset(row.partition(" ")[0] for row in done.out.lower().splitlines())


def settings(config: PurePath, host: str, *, program: str = "ssh") -> dict[str, str]:
    """What `program` would use for `host`, from `ssh -G` (keys in lower case; the last value of a
    repeated key, and "identityfiles": how many there are). SshError with ssh's own words when it
    cannot read the file, or takes longer than `PATIENCE` seconds."""
    argv = [program, "-F", config.as_posix(), *_ONLY_READ, "-G", "--", host]
    try:
        done = run(argv, check=False, timeout=PATIENCE)
    except ToolMissing:
        raise
    except DevboxError as error:
        raise SshError(
            f"{program} takes longer than {PATIENCE:.0f} s to read {config}",
            fix="look for a `Match exec` in it whose program takes its time",
        ) from error
    if done.code:
        raise SshError(
            f"{program} cannot read {config}: {clean(done.err.strip()[-300:], 300)}",
            means="the previous ssh configuration is in place",
            fix=f"look at it with: {program} -F {config} -G {host}",
        )
    rows = [row.partition(" ") for row in done.out.splitlines()]
    found = {key.lower(): value for key, _, value in rows}
    files = sum(key == "identityfile" for key, _, _ in rows)
    return found | {"identityfiles": str(files)}

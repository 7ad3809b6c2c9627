"""What ssh makes of a config file: the check after every write."""

from __future__ import annotations

from pathlib import PurePath

from devbox.errors import DevboxError, SshError, ToolMissing
from devbox.process import run
from devbox.text import clean

PATIENCE = 20.0  # seconds for ssh to read a config, whose `Match exec` may run programs


def settings(config: PurePath, host: str, *, program: str = "ssh") -> dict[str, str]:
    """What `program` would use for `host`, from `ssh -G` (keys in lower case; the last value of a
    repeated key). SshError with ssh's own words when it cannot read the file, or takes longer than
    `PATIENCE` seconds."""
    try:
        argv = [program, "-F", config.as_posix(), "-G", "--", host]
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
    return {key: value for key, _, value in (row.partition(" ") for row in done.out.splitlines())}

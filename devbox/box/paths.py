"""Where the box half keeps its files: $DEVBOX_BOX_ROOT, else ~/.devbox-box. All private (0700).

config.json      what `arm` was given: policy, deadline, pause recipe (0600)
keep.json        {"until": unix seconds, …}: no idle pause before that
verdict.json     the watchdog's latest verdict
ladder.json      where it stands, for an agent that takes over
synced.json      what the last sync left nothing to fetch of (devbox.box.files.baseline)
syncing.json     {"until"}: ssh traffic until then is devbox's own (a batch, a coming pause)
agent.lock       held by the one running agent; agent.log is what it says
agent.json       {"pid", "started", "boot", "code", "orders"} of the running agent
history/         bounded segments of samples
events.jsonl     what the watchdog did, {"seq", "t", "kind", "message"} a line
ssh.json         {"sessions", "rx_bytes", "tx_bytes"} where the ssh server counts for us
runs/<id>/       one folder a run
active/<id>      identity of the supervisor of a run that runs
queued/<id>      a run that waits for its turn: what it wants (devbox.box.runs.queue)
holding/<id>     a run that has what it waited for: its GPUs
queue.lock       held while it is decided who is next
serving/<id>     a service that runs and is no job any more: only its requests are use
waiting/<id>     a run that waits for a round: no use of the box
served/<id>.json {"count", "in_flight"}: requests of a service, written by it
outbox/          notices that wait to be posted (devbox.box.notices)
inputs/<key>/    inputs of runs, named by their content
checkpoints/     what was verified about each, and who fetches one now
setup/           what was set up on this disk (devbox.box.setup.record)
packages/<hash>/ Python packages installed for jobs
environments/<hash>/ Python environments of jobs that have one of their own
streams/<pid>    bytes our own telemetry streams sent, so that they do not count as use
"""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The box half's folder, made when missing."""
    return private(Path(os.environ.get("DEVBOX_BOX_ROOT") or Path.home() / ".devbox-box"))


def home(path: str) -> Path:
    """A path of a request: absolute, or relative to the login folder."""
    return Path.home() / path


def runs() -> Path:
    return private(root() / "runs")


def private(path: Path) -> Path:
    """`path` as a folder that only this user can write to, made when it is missing. OSError for one
    that is there and is not: whoever made it could give this box orders."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    owners = {os.lstat(path).st_uid, os.stat(path).st_uid}
    if owners != {os.geteuid()}:
        raise OSError(f"{path} belongs to another user: move it away")
    if os.stat(path).st_mode & 0o022:
        raise OSError(f"{path} can be written to by other users: chmod go-w {path}")
    return path

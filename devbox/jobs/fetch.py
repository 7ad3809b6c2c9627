"""What runs made: brought to this computer, or on their box alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox.box.job import PART
from devbox.errors import Conflict
from devbox.files import write_atomic
from devbox.ignore.rules import selection
from devbox.jobs import queries, status
from devbox.jobs.transfer import Tell, transfer
from devbox.model import Box, BoxState, Run
from devbox.remote.agent_bootstrap import FOLDER
from devbox.remote.exec import Exec
from devbox.remote.preconditions import check_running
from devbox.sync import held, remote, rsync_process
from devbox.sync.rsync import shown
from devbox.wire.codec import JsonObject, plain
from devbox.workspace import Workspace

_NO_RESULTS = ("/*/in", "/*/scratch", "/*/reported.jsonl")  # in the folder of a round
NOTES = ".devbox"  # folder beside the results: the run's status.json, with its cost, and log.txt
_MOST = 200  # runs of a box, the newest, that are looked at

# $1: the box half's folder  further: ids. Says which have made a file, and which still run.
_LOOK = """\
cd "$1/runs" 2>/dev/null || exit 0
shift
for id; do
    [ ! -e "../active/$id" ] || echo "running $id"
    [ -z "$(find "$id/out" "$id"/rounds/*/out -type f 2>/dev/null | head -n 1)" ] || echo "made $id"
done
"""


def default_folder(ws: Workspace, run: Run) -> Path:
    """results/<run id>/ in the project of the run's box."""
    box = ws.store.boxes.get(run.box_id)
    root = ws.project_of(box).root if box else ws.spec.root
    return root / "results" / run.id


def fetch(ws: Workspace, run: Run, dest: Path | None = None, *, tell: Tell | None = None) -> Path:
    """Bring the run's outputs to `dest` (default: `default_folder`); returns that folder.

    May be called while it runs and again later: only what is new travels. Files that are already
    there and not among the outputs stay. Links that lead out and special files are not taken.
    tell: gets the progress of the transfer.
    Those of a worker's part of a batch come as rounds/<number>/out.
    What programs here act on (`sync.held`) stays there, and is told. Conflict when the box does not
    run; SyncError when the transfer failed.
    """
    box = ws.store.boxes.get(run.box_id)
    if box is None:
        raise Conflict(f"the box of run {run.id} is gone, with what was not fetched of its outputs")
    check_running(box)
    folder = (dest or default_folder(ws, run)).absolute()
    (folder / NOTES).mkdir(parents=True, exist_ok=True)
    there = f"{FOLDER}/runs/{run.id}"
    outputs(ws, box, run, f"{there}/out", folder, tell=tell)
    if run.batch:
        (folder / "rounds").mkdir(exist_ok=True)
        outputs(ws, box, run, f"{there}/rounds", folder / "rounds", but=_NO_RESULTS, tell=tell)
    log(ws, box, run, folder / NOTES)
    note = {
        "run": run.id,
        "box": run.box_name,
        "cost_micro_dollars": queries.cost(ws, run),
        **plain(status.of(run)._replace(id=run.id, job=run.job)),
    }
    for ours in ("id", "supervisor", "t"):
        del note[ours]
    _fetch_journal(ws, box, run, folder / NOTES)
    text = msgspec.json.format(msgspec.json.encode(note))
    write_atomic(folder / NOTES / "status.json", text + b"\n", mode=0o644)
    mark_fetched(ws, run)
    return folder


def outputs(
    ws: Workspace,
    box: Box,
    run: Run,
    there: str,
    here: Path,
    *,
    but: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> None:
    """Bring what a run has made in the folder `there` on its box, as `fetch` does. but: patterns of
    what else lies there."""
    # named one by one: what the box did not list does not come either
    files = _wanted(ws, box, run, there, but)
    if but and not files:
        return  # there may be no such folder
    transfer(ws, rsync_process.Job(box, here, there, False, files=files), total=None, tell=tell)


def log(ws: Workspace, box: Box, run: Run, here: Path) -> None:
    """Bring a run's log.txt."""
    there = f"{FOLDER}/runs/{run.id}"
    transfer(ws, rsync_process.Job(box, here, there, False, files=[b"log.txt"]), total=None)


def _wanted(ws: Workspace, box: Box, run: Run, folder: str, but: tuple[str, ...]) -> list[bytes]:
    """The outputs on the box that are whole, but for those that programs here act on."""
    whole = selection((f".*{PART}*", f"/{NOTES}", *but))
    there = remote.list_files(box, folder, whole).files
    back = set(held.held_back(there))
    for name in shown(sorted(back)):
        ws.narrate(f"run {run.id}: {name} was not fetched: programs here act on such a file")
    return sorted(there.keys() - back)


class Unfetched(NamedTuple):
    """made: runs with results that were never fetched. running: those that have not ended."""

    made: list[Run]
    running: list[Run]


def mark_fetched(ws: Workspace, run: Run) -> None:
    """All that this attempt made has been fetched. Not yet true of a run that continues."""
    latest = ws.store.runs.get(run.id)
    if latest is None or not run.state.is_over:
        return
    journalled: JsonObject = msgspec.json.decode(latest.request)
    journalled["fetched"] = status.of(run).attempt
    request = msgspec.json.encode(journalled)
    ws.store.runs.put(msgspec.structs.replace(latest, request=request))


def unfetched(ws: Workspace, box: Box) -> Unfetched:
    """Ask the box, if there is a run to ask about. SshError when it does not answer."""
    runs = {run.id: run for run in ws.store.runs.latest(box_id=box.id, limit=_MOST)}
    open_ = [run for run in runs.values() if not _is_fetched(run)]
    if not open_ or box.state is not BoxState.RUNNING:
        return Unfetched([], [])
    argv = ["sh", "-c", _LOOK, "sh", FOLDER, *(run.id for run in open_)]
    said = Exec(box).run(argv).out.splitlines()
    return Unfetched(
        made=[run for run in open_ if f"made {run.id}" in said],
        running=[run for run in open_ if f"running {run.id}" in said],
    )


def _is_fetched(run: Run) -> bool:
    fetched = msgspec.json.decode(run.request).get("fetched")
    return run.state.is_over and fetched == status.of(run).attempt


def _fetch_journal(ws: Workspace, box: Box, run: Run, here: Path) -> None:
    """Bring the items.jsonl of a job of a module: what `devbox plan` reads the times of items
    from."""
    asked = status.asked(run)
    if asked and not asked.command and status.of(run).counts.done:
        there = f"{FOLDER}/runs/{run.id}"
        transfer(ws, rsync_process.Job(box, here, there, False, files=[b"items.jsonl"]), total=None)

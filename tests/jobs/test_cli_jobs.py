"""`devbox run` and its siblings as a user types them: exit codes, streams, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devbox.model import Box
from devbox.workspace import Workspace
from tests import warm

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]
TOML = """
[providers.local]
price = 1.0

[jobs.count]
summary = "counts"
command = ["sh", "-c", "for i in $(seq $1); do echo $i; done; cat $2", "sh", "{n}", "{file}"]
args.n = { type = "int", default = 2, help = "how far" }
inputs.file = { help = "what follows", required = true }

[jobs.words]
command = ["printf", "%s\\n"]
"""


@pytest.fixture
def project(local_workspace: Workspace, local_box: Box) -> Path:
    """A project folder with one box up; its store is the one `devbox` opens."""
    del local_box
    (local_workspace.spec.root / "devbox.toml").write_text(TOML)
    return local_workspace.spec.root


def devbox(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [*DEVBOX, *words], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )


def test_run_prints_the_results_folder_and_nothing_else_on_stdout(project: Path) -> None:
    (project / "end.txt").write_text("over\n")
    done = devbox(project, "run", "count", "--", "--n", "3", "--file", "end.txt")
    assert done.returncode == 0, done.stderr
    folder = project / done.stdout.strip()
    assert done.stdout.startswith("results/count-")
    assert done.stdout.count("\n") == 1
    assert (folder / ".devbox/log.txt").read_text() == "1\n2\n3\nover\n"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("b: sent 2 files")
    at = lines.index("input file: sending end.txt (5 B)")
    assert lines[at + 2 : at + 6] == ["1", "2", "3", "over"]
    assert "succeeded in" in lines[-1]


def test_a_failed_run_exits_11_and_says_what_failed_and_what_to_do(project: Path) -> None:
    done = devbox(project, "run", "--json", "--", "sh", "-c", "echo no >&2; exit 3")
    assert done.returncode == 11
    run = json.loads(done.stdout)["run"]
    assert (run["state"], run["exit_code"]) == ("failed", 3)
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["what"] == f"run {run['id']} failed: ended with exit code 3"
    assert f"its log in results/{run['id']}/.devbox/log.txt" in told["means"]
    assert told["fix"] == f"devbox retry {run['id']}"
    again = devbox(project, "retry", run["id"])
    assert again.returncode == 11
    assert f"error: run {run['id']} failed: ended with exit code 3" in again.stderr


def test_words_after_the_dashes_are_never_read_as_options(project: Path) -> None:
    words = ["--json", "--box=x", "--", "-d", "--help", "-oProxyCommand=id", "{out}", ""]
    done = devbox(project, "run", "words", "--", *words)
    assert done.returncode == 0, done.stderr
    logs = devbox(project, "logs")
    assert logs.stdout == "".join(word + "\n" for word in words)
    bare = devbox(project, "run", "--", "echo", "--json")
    assert (bare.returncode, bare.stdout[:12]) == (0, "results/cmd-")


def test_usage_errors_name_the_way_out(project: Path) -> None:
    for words, code, said in (
        (["run", "nope"], 4, "there is no job 'nope' (jobs: "),
        (["run", "count"], 2, "job count needs --file PATH (what follows)"),
        (["run", "count", "--", "--n", "x"], 2, "--n takes a whole number, not 'x'"),
        (["run", "--box", "nope", "--", "true"], 4, "nope"),
        (["attach", "nope"], 4, "no run with an id that begins with 'nope'"),
        (["logs", "\x1b[2J"], 4, "no run with an id that begins with ''"),
    ):
        done = devbox(project, *words)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert done.stdout == ""
    assert json.loads(devbox(project, "runs", "--json").stdout)["runs"] == []


def test_the_catalogue_and_a_jobs_arguments_are_listed(project: Path) -> None:
    listing = devbox(project, "run").stdout
    assert "count" in listing
    assert "track" in listing
    shown = devbox(project, "run", "count", "--", "--help").stdout
    assert shown == (
        "count: counts\n  --file PATH  what follows (required)\n  --n INT      how far [2]\n"
    )


def test_a_detached_run_is_attached_to_later(project: Path) -> None:
    done = devbox(project, "run", "-d", "--", "sh", "-c", "until [ -e go ]; do sleep 0.05; done")
    run_id = done.stdout.strip()
    assert f"devbox attach {run_id}" in done.stderr
    (listed,) = json.loads(devbox(project, "runs", "--json").stdout)["runs"]
    assert (listed["id"], listed["state"]) == (run_id, "running")
    process = warm.Popen(
        [*DEVBOX, "attach", run_id],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert devbox(project, "run", "--", "touch", "go").returncode == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip() == f"results/{run_id}"


def test_ctrl_c_detaches_and_says_how_to_come_back_and_how_to_end_it(project: Path) -> None:
    process = subprocess.Popen(
        [*DEVBOX, "run", "--no-sync", "--", "sh", "-c", "echo up; sleep 300"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    told = iter(process.stderr.readline, "up\n")  # a box of this fixture was never armed: told too
    (begun,) = [line for line in told if line.startswith("run ")]
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    run_id = begun.split()[1]
    assert (process.returncode, out) == (130, "")
    assert f"detached; run {run_id} continues on b" in err
    assert f"devbox attach {run_id}" in err
    assert f"devbox cancel {run_id}" in err
    (listed,) = json.loads(devbox(project, "runs", "--json").stdout)["runs"]
    assert listed["state"] == "running"
    cancelled = devbox(project, "cancel", run_id)
    assert cancelled.stdout == f"{run_id} cancelled\n"
    assert devbox(project, "attach", run_id).returncode == 11


def test_logs_follow_to_the_end_and_are_clean(project: Path) -> None:
    script = r"printf 'a\033[2Jb\n\033]0;t\007c\rd\n'; sleep 0.3; echo last"
    devbox(project, "run", "-d", "--", "sh", "-c", script)
    done = devbox(project, "logs", "-f")
    assert done.stdout.splitlines() == ["ab", "c", "d", "last"]


def test_runs_are_listed_with_cost_and_message(project: Path) -> None:
    devbox(project, "run", "-q", "--", "false")
    table = devbox(project, "runs").stdout.splitlines()
    assert table[0].split() == ["RUN", "STATE", "PROGRESS", "TIME", "COST", "BOX"]
    assert "failed" in table[1]
    assert table[1].endswith("ended with exit code 1")


def test_a_bar_is_drawn_on_a_terminal(project: Path) -> None:
    """On a real terminal, with a redrawing program and markup-like text in the log."""
    import pty

    script = (
        "import json,os,time\n"
        "with open(os.environ['DEVBOX_EVENTS'], 'a', 1) as f:\n"
        "    for n in range(1, 6):\n"
        "        f.write(json.dumps({'progress': [n, 5], 'unit': 'epochs'}) + '\\n')\n"
        "        print('[red]epoch[/red]', n, flush=True); time.sleep(0.3)\n"
    )
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*DEVBOX, "run", "--", "python3", "-c", script],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    shown = _drain(parent)
    os.close(parent)
    assert process.stdout
    process.stdout.close()
    assert process.wait(120) == 0, shown
    assert "[red]epoch[/red] 5" in shown
    assert "of 5 epochs" in shown
    assert "━" in shown


def _drain(terminal: int) -> str:
    data = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not block:
            break
        data += block
    return data.decode(errors="replace")


def test_help_of_the_verbs_has_examples(project: Path) -> None:
    assert "devbox run track -- --video clip.mp4" in devbox(project, "run", "--help").stdout

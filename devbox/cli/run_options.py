"""Arguments and options of the verbs of jobs."""

from __future__ import annotations

from pathlib import Path

import click

from devbox.cli.common import workspace


class WordsAfterDashes(click.Command):
    """Everything after the first `--` belongs to the job and is never read as ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["devbox.words"] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


def complete_jobs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from devbox.jobs import catalogue

    return [n for n in catalogue.all_jobs(workspace(quiet=True).spec) if n.startswith(incomplete)]


def complete_runs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    store = workspace(quiet=True).store
    ids = [batch.id for batch in store.batches.latest()]
    ids += [run.id for run in store.runs.latest(parts=False)]
    return [each for each in ids if each.startswith(incomplete)]


run_argument = click.argument(
    "run_id", metavar="[RUN]", required=False, shell_complete=complete_runs
)
detach_option = click.option("--detach", "-d", is_flag=True, help="Return once it runs.")
dest_option = click.option(
    "--dest", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results."
)
gpus_option = click.option(
    "--gpus",
    type=click.IntRange(0, 1024),
    help="GPUs it has for itself; it waits until they are free.",
)
no_sync_option = click.option(
    "--no-sync", is_flag=True, help="Run what is on the box; do not sync up first."
)
no_setup_option = click.option("--no-setup", is_flag=True, help="Do not wait for the box's setup.")
max_cost_option = click.option(
    "--max-cost",
    type=click.FloatRange(0, min_open=True),
    metavar="DOLLARS",
    help="Of a batch: give out nothing that would cost more.",
)

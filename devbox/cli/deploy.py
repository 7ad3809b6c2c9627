"""Verbs between a project and its Space: deploy, pull-edits; and `restart --keep-edits`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devbox.cli.common import (
    box_argument,
    echo,
    json_option,
    narrate,
    page,
    print_json,
    quiet_option,
    workspace,
)

if TYPE_CHECKING:
    from devbox.deploy.edits import Edits
    from devbox.deploy.hosted import Asked
    from devbox.deploy.plan import Candidate, Plan
    from devbox.model import Box
    from devbox.workspace import Workspace

_SHOWN = 20
_OF_A_SPACE = {"space", "via", "force", "allow_dirty", "prune", "no_follow"}
_OF_A_SERVICE = {"service", "gpu", "app", "args", "idle", "most", "public"}


@click.command("deploy")
@box_argument()
@click.option("--space", default="", metavar="NAME", help="The Space, as me/name.")
@click.option(
    "--via", type=click.Choice(["git", "api"]), default=None, help="git remote, or one API commit."
)
@click.option("--check", is_flag=True, help="Only say what would be pushed.")
@click.option("--force", is_flag=True, help="git: drop commits that only the Space has.")
@click.option("--allow-dirty", is_flag=True, help="git: leave changes without a commit behind.")
@click.option("--prune", is_flag=True, help="api: remove files that only the Space has.")
@click.option("--no-follow", is_flag=True, help="Do not wait for the build.")
@click.option("--modal", "hosted", is_flag=True, help="A service to Modal, in place of a Space.")
@click.option("--service", default="", metavar="NAME", help="modal: which service.")
@click.option("--gpu", default="", metavar="NAME", help="modal: such as L4; else the box's.")
@click.option("--app", default="", metavar="NAME", help="modal: the app; else PROJECT-SERVICE.")
@click.option("--arg", "args", multiple=True, metavar="NAME=VALUE", help="modal: of the service.")
@click.option(
    "--idle",
    type=click.IntRange(2, 3600),
    default=60,
    metavar="SECONDS",
    help="modal: how long a container waits, and costs, for a further request.  [60]",
)
@click.option(
    "--most", type=click.IntRange(1, 100), default=1, help="modal: containers at a time.  [1]"
)
@click.option("--public", is_flag=True, help="modal: callable by anybody who has the URL.")
@json_option
@quiet_option
def deploy_command(
    box_name: str | None,
    space: str,
    via: str | None,
    check: bool,
    force: bool,
    allow_dirty: bool,
    prune: bool,
    no_follow: bool,
    hosted: bool,
    service: str,
    gpu: str,
    app: str,
    args: tuple[str, ...],
    idle: int,
    most: int,
    public: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push the project to its Space, then follow the build; or a service to Modal.

    In a git repository your commits go to the Space's main branch, by a remote named hf that is
    added beside origin; elsewhere, and with --via api, the files go as one commit.

    \b
    devbox deploy --check          what would be pushed, its size, files for LFS
    devbox deploy                  to the Space of the only box on Spaces
    devbox deploy --space me/app   to any Space of yours
    devbox deploy --modal          the service whose checkpoints devbox.toml has,
                                   as a Modal app: a function and a web endpoint
                                   that cost only while asked
    """
    _require_one_way(hosted)
    if hosted:
        from devbox.deploy.hosted import Asked

        asked = Asked(box_name or "", gpu, app, idle, most, public=public)
        _host("modal", service, args, asked, check=check, as_json=as_json, quiet=quiet)
        return
    from devbox.deploy import follow, target
    from devbox.deploy import plan as plans
    from devbox.deploy import push as pushes

    ws = workspace(quiet=quiet or as_json)
    found = target.find(ws, box_name, space)
    plan = plans.plan(ws, found, plans.choose(ws, via or ""))
    if check:
        _show(plan, as_json)
        return
    pushed = pushes.push(ws, found, plan, pushes.Allowed(force, allow_dirty, prune))
    stage = ""
    if pushed and not no_follow:
        stage = follow.follow(ws, found).words()
    page = found.repository.page
    if as_json:
        print_json("deploy", space=plan.space, via=plan.via, pushed=pushed, stage=stage, page=page)
        return
    done = f"deployed to {page}" if pushed else f"{page} has it all already"
    echo(f"{done}  {stage}".rstrip())


def _require_one_way(hosted: bool) -> None:
    """UsageError for an option of the way that was not taken."""
    from devbox.errors import UsageError

    context = click.get_current_context()
    given = {
        name
        for name in context.params
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    wrong = given & (_OF_A_SPACE if hosted else _OF_A_SERVICE)
    if wrong:
        option = f"--{min(wrong).replace('_', '-').removesuffix('s')}"
        raise UsageError(
            f"{option} is {'not ' if hosted else ''}for --modal",
            means="nothing was sent",
            fix="devbox deploy --help",
        )


def _host(
    provider: str,
    service: str,
    args: tuple[str, ...],
    asked: Asked,
    *,
    check: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    import msgspec

    from devbox.deploy import hosted
    from devbox.jobs import arguments
    from devbox.services import catalogue
    from devbox.text import dollars

    ws = workspace(quiet=quiet or as_json)
    chosen = catalogue.find(ws.spec, service or hosted.only(ws, catalogue.all_services(ws.spec)))
    values = arguments.parse(chosen, [f"--{each}" for each in args]).args
    request = hosted.plan(ws, provider, chosen, values, asked)
    price = hosted.price(ws, provider, request)
    made = None if check else hosted.deploy(ws, provider, request)
    if as_json:
        print_json(
            "deploy-check" if check else "deploy",
            service=chosen.name,
            app=request.app,
            hardware=request.hardware,
            price=price and msgspec.to_builtins(price),
            function="predict",
            **(made._asdict() if made else {}),
        )
        return
    echo(f"{chosen.name} answers at {made.url}" if made else f"would deploy {request.app}")
    if not asked.public:
        echo(f"  callers need {made.credentials}" if made else "  callers need credentials")
    else:
        echo("  anybody who has the URL can call it, and you pay")
    rate = dollars(price.micro_per_hour if price else None, per_hour=True)
    echo(
        f"  {request.hardware}, about {rate} while it answers and {request.idle} s after; "
        f"at most {request.most} of each of its two functions; else nothing"
    )
    if made:
        echo(f"  end it: {made.end}")


@click.command("pull-edits")
@box_argument()
@click.option("--folder", default="", metavar="PATH", help="Where the code lies on the box.")
@click.option("--base", "revision", default="", metavar="COMMIT", help="What the box was given.")
@click.option("--deletions", is_flag=True, help="Delete here what is missing on the box.")
@click.option("--apply", "apply_", is_flag=True, help="Apply the patch to the project.")
@click.option("--output", "-o", default="", metavar="FILE", help="Write it there; - for stdout.")
@json_option
@quiet_option
def pull_edits_command(
    box_name: str | None,
    folder: str,
    revision: str,
    deletions: bool,
    apply_: bool,
    output: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring edits made on BOX back as a patch that you can commit.

    \b
    devbox pull-edits               keep the patch in .devbox/edits/
    devbox pull-edits --apply       and apply it, ready for git commit
    devbox pull-edits -o -          print it
    """
    from devbox.deploy import edits as room

    ws = workspace(quiet=quiet or as_json)
    box = ws.box(box_name)
    edits = room.collect(ws, box, folder=folder, revision=revision, deletions=deletions)
    file = ""
    if output == "-" and not as_json and sys.stdout.isatty():
        page(edits.patch.decode(errors="replace"), nl=False)
    elif output == "-" and not as_json:
        sys.stdout.buffer.write(edits.patch)
    elif output and output != "-":
        Path(output).write_bytes(edits.patch)
        file = output
    elif edits.patch:
        file = str(room.keep(ws, box, edits, _stamp()))
    if not quiet:
        _say_left_out(edits, deletions)
    if apply_ and edits.patch:
        if file:
            ws.narrate(f"{box.name}: {_count(edits)} kept in {file}")
        room.apply(ws, box, edits)
    if as_json:
        changed, added, missing = edits.changed, edits.added, edits.missing
        print_json(
            "pull-edits",
            box=box.name,
            base=edits.base,
            file=file,
            changed=changed,
            added=added,
            missing=missing,
            left_out=edits.left_out,
            applied=apply_ and bool(edits.patch),
        )
    elif output != "-":
        echo(_summary(box.name, edits, file, applied=apply_))


def _summary(name: str, edits: Edits, file: str, *, applied: bool) -> str:
    if not edits.patch:
        return f"{name}: no edits against {edits.base}"
    lines = [f"{name}: {_count(edits)} against {edits.base}, in {file}"]
    lines += [f"  M {path}" for path in edits.changed[:_SHOWN]]
    lines += [f"  A {path}" for path in edits.added[:_SHOWN]]
    lines.append("applied; now: git commit" if applied else f"apply it: git apply --3way {file}")
    return "\n".join(lines)


def restart_in_place(ws: Workspace, box: Box, folder: str, *, save: bool) -> str:
    """Restart a box's app inside its container. The edits on it stay; save: and are kept as a patch
    first, whose file is returned ('' for none)."""
    from devbox import lifecycle
    from devbox.deploy import app
    from devbox.deploy import edits as room

    kept = ""
    edits = room.collect(ws, box, folder=folder) if save else None
    if edits and edits.patch:
        kept = str(room.keep(ws, box, edits, _stamp()))
        ws.narrate(f"{box.name}: {_count(edits)} kept in {kept}")
    app.restart(ws, box)
    if kept and lifecycle.ends_disk(ws, box, "restart"):
        ws.narrate(
            f"{box.name}: its disk is ephemeral; to make the edits last: "
            f"git apply --3way {kept} && git commit -a && devbox deploy"
        )
    return kept


def _say_left_out(edits: Edits, deletions: bool) -> None:
    from devbox.deploy.push import many

    if edits.missing and not deletions:
        narrate(
            f"not on the box, of {edits.base}: {many(edits.missing, 'file')}, deleted there, or "
            "never copied into its image (--deletions puts that into the patch)"
        )
    for path in edits.left_out[:_SHOWN]:
        narrate(f"left out, too large, a link, or not a usable name: {path}")


def _count(edits: Edits) -> str:
    from devbox.deploy.push import many

    return f"{len(edits.changed)} edited and {many(edits.added, 'new file')}"


def _show(plan: Plan, as_json: bool) -> None:
    if as_json:
        import msgspec

        print_json("deploy-check", **msgspec.to_builtins(plan))
        return
    page("\n".join(_lines(plan)))


def _lines(plan: Plan) -> list[str]:
    from devbox.deploy.push import listed, many
    from devbox.text import size

    how = f"git remote hf → {plan.url}" if plan.via == "git" else "one commit through the API"
    lines = [f"{plan.space}: {how}"]
    if plan.is_empty:
        lines.append("nothing to push: the Space has it all")
    else:
        # A push sends each version of a file that the history has.
        git = plan.via == "git"
        commits = f"{many(range(plan.ahead), 'commit')}, " if git else ""
        files = many(plan.files, "file version" if git else "file")
        lines.append(f"would push {commits}{files}, {size(plan.size)}")
        biggest = sorted(plan.files, key=lambda each: -each[1])[:_SHOWN]
        lines += [f"  {size(length):>10}  {path}" for path, length in biggest]
        if len(plan.files) > _SHOWN:
            lines.append(f"  … and {len(plan.files) - _SHOWN} smaller ones")
    for each in plan.lfs[:_SHOWN]:
        lines.append(f"LFS: {each.path} ({size(each.size)}) {_why(plan, each)}")
    if plan.lacks:
        lines.append(f"no Space: your commits lack {plan.lacks}")
    if plan.theirs:
        lines.append(f"diverged: only the Space has {many(plan.theirs, 'commit')}:")
        lines += [f"  {commit}" for commit in plan.theirs[:_SHOWN]]
    if plan.stale:
        told = "would be removed" if plan.prunes else "removed with --prune"
        lines.append(f"only the Space has ({told}): {listed(plan.stale)}")
    if plan.dirty:
        lines.append(f"without a commit, so not pushed: {listed(plan.dirty)}")
    lines += [f"warning: {sentence}" for sentence in plan.ignored_imports]
    if plan.secrets:
        lines.append(f"looks like secrets: {listed(plan.secrets)}")
    if plan.upstream and plan.upstream[1]:
        lines.append(f"{plan.upstream[0]} lacks {many(range(plan.upstream[1]), 'commit')} of yours")
    return lines


def _why(plan: Plan, file: Candidate) -> str:
    if plan.via == "api":
        return "over 10 MB: goes through LFS by itself"
    if file.must:
        return "over 10 MB: the Hub takes it through Git LFS only"
    return "is binary: the Hub may refuse it in plain git (git lfs track, or --via api)"


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")

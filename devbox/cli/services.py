"""Verbs of services: serve, services."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import click

from devbox.cli.common import (
    box_option,
    echo,
    json_option,
    page,
    print_json,
    quiet_option,
    workspace,
)
from devbox.cli.following import following
from devbox.cli.run_options import (
    WordsAfterDashes,
    gpus_option,
    no_setup_option,
    no_sync_option,
)

if TYPE_CHECKING:
    from devbox.jobs.follow import Message
    from devbox.model import Box, Run
    from devbox.services.public import Public
    from devbox.services.reach import Reach
    from devbox.spec import ServiceSpec
    from devbox.wire.jobs import ServiceStatus
    from devbox.workspace import Workspace


def _complete_services(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from devbox.services import catalogue

    known = catalogue.all_services(workspace(quiet=True).spec)
    return [name for name in known if name.startswith(incomplete)]


@click.command("serve", cls=WordsAfterDashes)
@click.argument("name", metavar="[SERVICE]", required=False, shell_complete=_complete_services)
@box_option("The box to serve on; needed when there are several.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port on this computer.")
@gpus_option
@click.option("--detach", "-d", is_flag=True, help="Return once it is ready; no forward.")
@no_sync_option
@no_setup_option
@json_option
@quiet_option
@click.pass_context
def serve_command(
    ctx: click.Context,
    name: str | None,
    box_name: str | None,
    port: int | None,
    gpus: int | None,
    detach: bool,
    no_sync: bool,
    no_setup: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Start SERVICE on a box, wait until it is ready, forward its port here and print the URL.

    Its log follows until Ctrl-C, which ends the forward and not the service. A service that runs
    already is not started again: its port is forwarded.

    \b
    devbox serve                             which services there are
    devbox serve pose -- --help              what one takes
    devbox serve pose --detach -- --engine cascade
    devbox services stop pose
    """
    from devbox.jobs import arguments, queue
    from devbox.services import catalogue

    ws = workspace(quiet=quiet)
    words: list[str] = ctx.meta["devbox.words"]
    if name is None:
        _print_known(ws, as_json)
        return
    service = catalogue.find(ws.project_of(ws.box(box_name)) if box_name else ws.spec, name)
    if words == ["--help"] and not service.takes_words:
        page(arguments.describe(service))
        return
    service = queue.with_options(service, gpus, None)
    box = ws.box(box_name or service.box or None)
    run = _begin(ws, box, service, words, no_sync=no_sync, no_setup=no_setup, quiet=quiet)
    if detach:
        _follow(ws, box, service, run, None, as_json=as_json, quiet=quiet)
        return

    def reach(found: ServiceStatus) -> Reach:
        from devbox.services.reach import Reach

        remote = found.port or service.port
        return Reach(box, run, remote, wish=port or service.port or remote, fixed=port is not None)

    _follow(ws, box, service, run, reach, as_json=as_json, quiet=quiet)


def _begin(
    ws: Workspace,
    box: Box,
    service: ServiceSpec,
    words: list[str],
    *,
    no_sync: bool,
    no_setup: bool,
    quiet: bool,
) -> Run:
    from devbox.cli.transfer import transfer
    from devbox.jobs import arguments, setup
    from devbox.services import runs
    from devbox.sync import before

    extra = words if service.takes_words else []
    given = arguments.parse(service, [] if extra else words)
    if not no_sync:
        before.send(ws, box)
    if not no_setup:
        setup.require(ws, box)
    with transfer(quiet) as tell:
        begun = runs.begin(ws, box, service, given.args, given.inputs, extra=extra, tell=tell)
    run = begun.run
    if begun.is_new:
        ws.narrate(f"service {service.name} on {run.box_name}: run {run.id}")
    else:
        ws.narrate(f"service {service.name} runs already on {run.box_name}: run {run.id}")
    if begun.differs:
        stop = f"devbox services stop {service.name}"
        ws.narrate(f"it keeps the arguments it was started with; to change them, first: {stop}")
    return run


def _follow(
    ws: Workspace,
    box: Box,
    service: ServiceSpec,
    run: Run,
    reach: Callable[[ServiceStatus], Reach] | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Until it is ready, then with a forward (`reach`) until Ctrl-C or its end."""
    from contextlib import closing

    from devbox.cli.run_view import watch
    from devbox.errors import Interrupted, JobFailed
    from devbox.jobs.follow import follow

    stop = f"devbox services stop {service.name}"
    stop += f" --box {box.name}" if len(ws.store.boxes.all()) > 1 else ""
    try:
        with following(sys.stderr), closing(follow(ws, run, after=_place(run))) as messages:
            shown = _served(ws, box, service, run, messages, reach, stop, as_json=as_json)
            ended = watch(shown, service.name, quiet=quiet, clock=ws.clock)
    except KeyboardInterrupt:
        raise Interrupted(
            f"detached; service {service.name} continues on {run.box_name}",
            means=f"reach it again: devbox serve {service.name}",
            fix=f"to stop it: {stop}",
        ) from None
    if ended is not None and ended.status.reason != "cancelled":
        raise JobFailed(
            f"service {service.name} ended: {ended.status.message or ended.status.state}",
            fix=f"devbox logs {run.id}",
        )
    if ended is not None:
        ws.narrate(f"service {service.name} {ended.status.message}")


def _served(
    ws: Workspace,
    box: Box,
    service: ServiceSpec,
    run: Run,
    messages: Generator[Message, None, None],
    reach: Callable[[ServiceStatus], Reach] | None,
    stop: str,
    *,
    as_json: bool,
) -> Generator[Message, None, None]:
    """The messages of a service; its URL is printed when it is ready."""
    from devbox.jobs.follow import Note
    from devbox.services import public
    from devbox.services.ready import until_ready

    found = yield from until_ready(
        messages,
        run,
        since=run.started or ws.clock(),
        patience=float(service.start_timeout),
        clock=ws.clock,
    )
    everywhere = public.where(ws, box, service, run) if service.expose else None
    if reach is None:
        yield Note(f"ready; reach it: devbox serve {service.name}; stop it: {stop}")
        yield from _public_notes(everywhere)
        _print_ready(ws, run, found, "", everywhere, as_json=as_json)
        return
    with reach(found) as link:
        yield from _public_notes(everywhere)
        _print_ready(ws, run, found, link.url, everywhere, as_json=as_json)
        yield Note(f"ready; Ctrl-C ends the forward; stop the service: {stop}")
        for message in messages:
            if link.see_to():
                yield Note(f"forwarded again: {link.url}")
            yield message


def _public_notes(found: Public | None) -> Generator[Message, None, None]:
    from devbox.jobs.follow import Note

    if found:
        yield Note(f"public at {found.url}; each request needs Authorization: Bearer TOKEN")
        yield Note(f"its token: {found.token_from}")


def _print_ready(
    ws: Workspace,
    run: Run,
    found: ServiceStatus,
    url: str,
    everywhere: Public | None,
    *,
    as_json: bool,
) -> None:
    if as_json:
        fields = {**_fields(ws, run, found), "url": url or None}
        fields |= {"public_url": everywhere and everywhere.url}
        print_json(
            "service", service={**fields, "token_from": everywhere and everywhere.token_from}
        )
    else:
        echo(url or run.id)
    sys.stdout.flush()


def _place(run: Run) -> str:
    """Where its log is followed from: all of a new one."""
    from devbox.jobs import status

    return "tail" if status.of(run).log_bytes else ""


def _print_known(ws: Workspace, as_json: bool) -> None:
    from devbox.services import catalogue

    known = catalogue.all_services(ws.spec)
    if as_json:
        listed = [{"name": one.name, "summary": one.summary} for one in known.values()]
        print_json("services-known", services=listed)
        return
    for one in known.values():
        echo(f"{one.name:<16} {one.summary or ' '.join(one.command)[:60]}".rstrip())
    if known:
        first = next(iter(known))
        ws.narrate(f"what {first} takes: devbox serve {first} -- --help")
    else:
        ws.narrate(f"there are none; add to devbox.toml: {catalogue.EXAMPLE}")


@click.group("services", invoke_without_command=True)
@click.option("--all", "-a", "show_all", is_flag=True, help="Also those that have ended.")
@json_option
@click.pass_context
def services_command(ctx: click.Context, show_all: bool, as_json: bool) -> None:
    """List services that run on boxes, with where they are forwarded to, or stop one."""
    if ctx.invoked_subcommand:
        return
    from devbox.jobs import queries, status
    from devbox.services import reach, runs
    from devbox.text import dollars, duration
    from devbox.text_layout import table

    ws = workspace(quiet=True)
    found = queries.refresh(ws, runs.all_of(ws)[:200])
    found = [run for run in found if show_all or not run.state.is_over]
    if as_json:
        rows = [_fields(ws, run, status.of(run).service) for run in found]
        print_json("services", services=rows)
        return
    lines = [("SERVICE", "BOX", "STATE", "URL", "UPTIME", "COST", "RUN")]
    for run in found:
        seen = status.of(run).service
        taken = duration(status.seconds(status.of(run), ws.clock()))
        cost = dollars(queries.cost(ws, run))
        shown = reach.url_of(run) or "–"
        lines.append((run.job, run.box_name, _state(run, seen), shown, taken, cost, run.id))
    for line in table(lines):
        echo(line)


@services_command.command("stop")
@click.argument("name", metavar="SERVICE", shell_complete=_complete_services)
@box_option("The box it runs on; needed when it runs on several.")
@json_option
@quiet_option
def stop(name: str, box_name: str | None, as_json: bool, quiet: bool) -> None:
    """Stop SERVICE: requests in flight are finished, within 30 s, and no other is taken."""
    from devbox.jobs import queries, status
    from devbox.services import runs

    ws = workspace(quiet=quiet)
    run = runs.find(ws, name, ws.box(box_name) if box_name else None)
    run = queries.cancel(ws, run)
    if as_json:
        print_json("service", service=_fields(ws, run, status.of(run).service))
    else:
        echo(f"{name} {status.of(run).message or run.state}")


def _fields(ws: Workspace, run: Run, found: ServiceStatus | None) -> dict[str, object]:
    """A service in the documented form."""
    from devbox.jobs import queries, status
    from devbox.services import reach

    seen = status.of(run)
    return {
        "name": run.job,
        "box": run.box_name,
        "state": _state(run, found),
        "said": seen.message or (found.said if found else ""),
        "port": found.port if found else None,
        "url": reach.url_of(run) or None,
        "run": run.id,
        "started": run.started,
        "ended": run.ended,
        "cost_micro_dollars": queries.cost(ws, run),
    }


def _state(run: Run, found: ServiceStatus | None) -> str:
    if run.state.is_over or found is None or str(run.state) != "running":
        return str(run.state)
    return "ready" if found.ready else "not answering" if found.since else "warming up"

"""`devbox notify`: test the ways you are told, and see what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from devbox.cli.common import box_option, echo, json_option, print_json, workspace

if TYPE_CHECKING:
    from devbox.box.notices.outbox import Answer
    from devbox.workspace import Workspace

_HELP = 'add to {path}: [notify] webhook = "https://…", desktop = true, or on_event = ["…"]'


@click.group("notify")
def notify_command() -> None:
    """Notices: runs that ended, pauses that come, builds that failed, resources nobody tracks.

    \b
    [notify]                                 in ~/.devbox/config.toml
    webhook = "https://example.org/hook"     boxes post there themselves
    devbox notify test                       one notice through each way
    devbox notify test --box dev             and one from the box itself
    devbox notify ls                         what waits, and why
    """


@notify_command.command("test")
@box_option("Have this box post one too, by what is configured now.")
@json_option
def test_command(box_name: str | None, as_json: bool) -> None:
    """Send one notice through each way that is configured; exit code 1 when one fails."""
    from devbox.errors import DevboxError
    from devbox.notify import channels, deliver
    from devbox.wire.notices import Notice

    ws = workspace()
    now = ws.clock()
    notice = Notice(f"test-{now:.3f}", now, "test", "", ws.spec.project, "a test of devbox notify")
    answers = {way.name: deliver.answer(way, notice) for way in channels.of(ws.spec.notify)}
    _require_some(answers)
    if box_name is not None:
        answers[box_name] = _from_box(ws, box_name)
    if as_json:
        print_json("notify-test", ways={name: answer.ok for name, answer in answers.items()})
    for name, answer in answers.items():
        if not as_json:
            echo(f"{name:<10} {'sent' if answer.ok else f'failed: {answer.detail}'}")
    failed = [name for name, answer in answers.items() if not answer.ok]
    if failed:
        raise DevboxError(
            f"no notice through {', '.join(failed)}",
            means="what they would tell does not reach you",
            fix="edit [notify] in the user config, then: devbox notify test",
        )


@notify_command.command("ls")
@json_option
def ls_command(as_json: bool) -> None:
    """The ways that are configured, and how many notices wait in each."""
    from devbox.notify import deliver

    ws = workspace()
    found = deliver.waiting(ws.spec.notify)
    if as_json:
        print_json("notify", ways={name: each._asdict() for name, each in found.items()})
        return
    _require_some(found)
    for name, each in found.items():
        why = f", {each.tries} tries failed: {each.detail}" if each.tries else ""
        echo(f"{name:<10} {each.notices} waiting{why}")


def _require_some(found: object) -> None:
    from devbox import paths
    from devbox.errors import SpecError

    if not found:
        raise SpecError(
            "no way to tell you anything is configured",
            means="a run that ends, or a pause that comes, shows only where you look",
            fix=_HELP.format(path=paths.user_config()),
        )


def _from_box(ws: Workspace, name: str) -> Answer:
    """One that the box posts itself, once it follows the present configuration."""
    from devbox.box.notices.outbox import Answer
    from devbox.remote import agent, preconditions
    from devbox.remote.exec import Exec
    from devbox.telemetry import rearm
    from devbox.wire.notices import Posted

    box = ws.box(name)
    preconditions.check_running(box)
    line = Exec(box)
    rearm.arm(ws, box, line)
    told = agent.ask(line, Posted, "notices", "test", present=True)
    return Answer(told.ok, False, told.detail)

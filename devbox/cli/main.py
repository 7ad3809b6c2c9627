"""`devbox`: verbs by group, each module imported when its verb is called."""

from __future__ import annotations

import atexit
import gc
import os
import select
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from devbox import __version__

# verb: (module under devbox.cli, one-line help). Helps live here so that --help imports nothing.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Boxes": {
        "up": ("boxes", "Bring a box up, or finish bringing it up"),
        "pause": ("stop", "Stop paying; what is kept depends on the provider"),
        "resume": ("boxes", "Bring a paused box back"),
        "down": ("stop", "End a box permanently"),
        "keep": ("boxes", "Hold off the idle pause for a while"),
        "restart": ("changes", "Restart a box's app, in its container or with a new image"),
        "resize": ("changes", "Move a box to other hardware"),
        "renew": (
            "changes",
            "Replace a box that reached its provider's time limit, keeping its files",
        ),
        "ls": ("show", "List boxes"),
        "status": ("show", "One box: state, cost, when it will pause and why"),
        "events": ("show", "What happened to a box"),
        "reconcile": ("boxes", "Compare with the providers and finish or clean up"),
        "offers": ("money", "Hardware and prices across providers"),
        "plan": ("plan", "What a job or box needs, and would cost on each offer"),
    },
    "Connect": {
        "ssh": ("connect", "Open a shell on a box"),
        "exec": ("connect", "Run one command on a box"),
        "forward": ("connect", "Forward a port of a box to this machine"),
        "code": ("connect", "Open the box in your editor over Remote-SSH"),
        "cp": ("copy", "Copy files to or from a box"),
        "ssh-config": ("connect", "Show, install or remove the ssh configuration"),
    },
    "Files": {
        "sync": ("sync", "Keep files in step: up, down, watch, status"),
        "deploy": ("deploy", "Push the project to its Space and follow the build"),
        "pull-edits": ("deploy", "Bring edits made on a box back as a patch"),
        "publish": ("publish", "Check a model checkpoint and put it on the Hugging Face Hub"),
    },
    "Jobs": {
        "run": ("jobs", "Run a job on a box"),
        "runs": ("runs", "List runs"),
        "logs": ("runs", "Print or follow a run's log"),
        "attach": ("runs", "Follow a run's progress"),
        "wait": ("wait", "Wait until a run or a box is in a state"),
        "cancel": ("runs", "Stop a run"),
        "retry": ("runs", "Run again what failed or is missing"),
        "checkpoints": ("checkpoints", "Model weights: list, fetch, compare, upload"),
    },
    "Services": {
        "serve": ("services", "Start a service on a box and forward its port here"),
        "services": ("services", "List services that run, or stop one"),
        "pose-check": ("pose_check", "How much of a video the pose service, or a run, covers"),
    },
    "Watch": {
        "ui": ("ui", "The dashboard: every box, live, in the terminal or a browser"),
        "top": ("top", "Live CPU, memory and GPU of a box"),
        "cost": ("cost", "What was spent, from the ledger"),
        "budget": ("budget", "What the budgets leave, and doing what they ask for"),
        "idle": ("idle", "Replay the idle policy over recorded samples"),
        "doctor": ("doctor", "Check this machine, or a box"),
        "guard": ("guard", "Look after boxes and schedules from this computer"),
        "schedule": ("guard", "What is to be brought up, paused or run, and when"),
        "notify": ("notify", "Where you are told what happens: test it, see what waits"),
    },
    "Project": {
        "init": ("init", "Write a commented devbox.toml: three questions, or a template"),
        "login": ("login", "Check what a provider needs: credentials, plan, keys, money"),
        "image": ("image", "Dockerfiles from templates: lint, build, push"),
        "trust": ("trust", "Trust a project's settings that reach outside it"),
        "config": ("project", "Show the merged configuration and where it comes from"),
        "schema": ("project", "Print the JSON Schema of devbox.toml, for editors"),
        "demo": ("demo", "The whole loop on this machine in under a minute"),
        "completion": ("project", "Print the shell completion script"),
    },
}

#: old words of verbs, understood until 1.0 → what they stand for
_BEFORE = {
    "hardware": ["resize"],
    "succeed": ["renew"],
    "refresh": ["restart", "--keep-edits"],
}

#: what other tools call our verbs; the verb is said each time, so that it is learnt
_ELSEWHERE = {
    "list": ["ls"],
    "start": ["up"],
    "stop": ["pause"],
    "rm": ["down"],
    "help": ["--help"],
    "version": ["--version"],
}

EXAMPLES = """\
Examples:
  devbox init                      write devbox.toml
  devbox up                        bring the box up
  devbox sync up && devbox ssh     push your files, open a shell
  devbox run track -- --video clip.mp4
  devbox down                      stop paying
"""


class Verbs(click.Group):
    """A group that knows its verbs without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verbs in GROUPS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for verbs in GROUPS.values():
            if cmd_name in verbs:
                module = import_module(f"devbox.cli.{verbs[cmd_name][0]}")
                command = getattr(module, cmd_name.replace("-", "_") + "_command")
                assert isinstance(command, click.Command)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        words = _BEFORE.get(args[0], args[:1]) + args[1:]
        if words[0] not in self.list_commands(ctx) and not words[0].startswith("-"):
            from devbox import errors, text

            close = text.did_you_mean(words[0], self.list_commands(ctx), "devbox ")
            what = f"there is no verb {text.clean(words[0], 60)!r}"
            raise errors.UsageError(what, fix=f"{close}devbox --help lists all verbs")
        return super().resolve_command(ctx, words)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # Here, since click takes each for a reader that left, and would end with 1.
            if error.errno and _has_readers():
                raise ConnectionResetError(str(error)) from error  # another pipe than ours broke
            _reader_gone()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group, verbs in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(verb, text) for verb, (_, text) in verbs.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\n" + EXAMPLES)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="devbox", message="%(prog)s %(version)s")
@click.option("--events", type=click.Path(path_type=Path), hidden=True)
def cli(events: Path | None) -> None:
    """Remote GPU dev environments: one command up, its cost shown, switched off when idle."""
    if events:
        from devbox.cli import common
        from devbox.cli.event_log import EventLog

        common.events = common.events or EventLog(events)


@cli.result_callback()
def _done(_: object, events: Path | None) -> None:
    """After a verb that ended well."""
    from devbox.cli import common

    if common.events:
        common.events.done()


def main() -> NoReturn:
    """The console script: turns errors into their text and exit code."""
    # A verb makes little garbage: looking for it while modules load, and through all of them again
    # on the way out, would take up to a third of its time (measured with the providers' clients).
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    try:
        code = _run()
        _send_news()
        sys.exit(code)
    except BrokenPipeError:
        _reader_gone()


def _send_news() -> None:
    """Have what the verb learned told to the user elsewhere, by a process that outlives it."""
    common = sys.modules.get("devbox.cli.common")
    ws = next(iter(common.opened), None) if common else None
    if common is None or ws is None or "store" not in ws.__dict__:
        return  # nothing was learned
    try:
        if ws.spec.has_budgets:
            from devbox.lifecycle import enforce

            enforce.tell(ws)
        if ws.spec.notify.is_used:
            from devbox.notify import deliver

            deliver.begin(ws)
    except Exception as error:  # the verb is over, and its own end is what counts
        common.narrate(f"notices were not sent: {error}")


def _has_readers() -> bool:
    """Whether what this process prints may still be read."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _reader_gone() -> NoReturn:
    """A reader such as `head` went away: that is not our failure. What is still to be written goes
    nowhere, or Python would complain of it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _run() -> int:
    """The exit code of the verb, its error told."""
    try:
        _verb()
    except click.exceptions.NoArgsIsHelpError as error:
        from devbox.cli import common

        common.page(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _tell(_usage(error))
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except Exception as error:  # the last net: what happened, in devbox's form
        return _tell(error)
    return 0


def _usage(error: click.ClickException) -> Exception:
    """What click says of a command line, as an error of ours."""
    from devbox.errors import UsageError

    context = getattr(error, "ctx", None)
    help_line = f"{context.command_path if context else 'devbox'} --help"
    if isinstance(error, click.NoSuchOption):
        close = next(iter(error.possibilities or ()), "")
        near = f"did you mean {close}? " if close else ""
        return UsageError(f"there is no option {error.option_name}", fix=near + help_line)
    what = error.format_message().rstrip(".")
    return UsageError(what[:1].lower() + what[1:], fix=help_line)


def _words() -> list[str]:
    """The command line, in our own words."""
    words = sys.argv[1:]
    ours = _ELSEWHERE.get(words[0]) if words else None
    if not ours:
        return words
    rest = words[1:]
    if ours == ["--help"] and rest:
        return [*rest, *ours]
    if not ours[0].startswith("-"):
        from devbox.cli import common

        common.narrate(f"devbox {words[0]} is: devbox {ours[0]}")
    return ours + rest


def _verb() -> None:
    """The verb; once more when it needs a project's trust and the user gives it now."""
    from devbox.errors import NotTrusted

    words = _words()
    try:
        cli.main(words, standalone_mode=False)
    except NotTrusted as error:
        from devbox.cli.trust import ask

        if not ask(error):
            raise
        cli.main(words, standalone_mode=False)


def _interrupted() -> int:
    from devbox.cli import common

    try:
        common.page(common.after_interrupt(), err=True)
    except Exception as error:  # what runs cannot be told: that must not look like "nothing"
        common.page("interrupted; what is running and costing could not be read:", err=True)
        _tell(error)
    return 130


def _tell(error: Exception) -> int:
    from devbox.cli import common
    from devbox.cli.net import explained

    known = common.why_silent(explained(error))
    if common.events:
        common.events.failed(known)
    elif _wants_json():
        common.json_error(known)
    else:
        common.page(known.render(), err=True)
    return known.exit_code


def _wants_json() -> bool:
    """--json was given to the verb, and not to a program that it runs."""
    words = sys.argv[1:]
    ours = words[: words.index("--")] if "--" in words else words
    return "--json" in ours and ours[0] not in ("exec", "ssh")


if __name__ == "__main__":
    main()

"""Verbs that reach a box: ssh, exec, forward, code, ssh-config.

`ssh` and `exec` start the ssh program after one look into the state file, so this module imports
nothing that they do not need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

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
    from devbox.model import Box
    from devbox.remote.command import Host

_NO_CONNECTION = 255  # ssh's own exit code
_ONLY = "\0"  # the only box; nobody can type that, and an empty name stays an error


class _BoxThenCommand(click.Command):
    """What is left of `--` names the box: nothing there means the only one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args and all(word.startswith("-") for word in args[: args.index("--")]):
            at = args.index("--")
            args = [*args[:at], _ONLY, *args[at:]]
        return super().parse_args(ctx, args)


@click.command(
    "ssh",
    cls=_BoxThenCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@box_argument()
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
def ssh_command(box_name: str | None, command: tuple[str, ...]) -> None:
    """Open a shell on BOX (default: the only live one), or run COMMAND there by its shell, as ssh
    does: devbox ssh train -- 'ls *.pt | wc -l'. For arguments that arrive as given: devbox exec.

    ssh, scp, rsync and git reach it too, as the host that `devbox status` shows (devbox-BOX unless
    that was taken); `devbox up` adds it to your ssh configuration.
    """
    words = command[1:] if command[:1] == ("--",) else command
    line = ["sh", "-c", " ".join(words)] if words else []
    _ssh(reachable(box_name), line, tty=not words or sys.stdin.isatty())


@click.command(
    "exec",
    cls=_BoxThenCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal, when this is one.")
@box_argument(required=True)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def exec_command(box_name: str, command: tuple[str, ...], tty: bool) -> None:
    """Run COMMAND on BOX, in its login folder; its exit code is ours.

    \b
    devbox exec train nvidia-smi
    devbox exec -- nvidia-smi                 on the only box
    devbox exec train -- sh -c 'cd work && make > log'
    tar c data | devbox exec train tar x -C work

    Arguments arrive as you gave them; for pipes and variables on the box use sh -c.
    """
    words = list(command[1:] if command[0] == "--" else command)
    if not words:
        raise click.UsageError("Name a command to run, or use devbox ssh for a shell.")
    _ssh(reachable(box_name), words, tty=tty and sys.stdin.isatty())


@click.command("forward")
@box_argument(required=True)
@click.argument("ports", metavar="[LOCAL:]REMOTE")
@json_option
@quiet_option
def forward_command(box_name: str, ports: str, as_json: bool, quiet: bool) -> None:
    """Make port REMOTE of BOX answer on 127.0.0.1 of this machine, until Ctrl-C.

    \b
    devbox forward train 8888          a notebook on http://127.0.0.1:8888
    devbox forward train 9000:8888     the same on local port 9000
    """
    from devbox.cli.following import following
    from devbox.remote import forward

    wish = forward.parse(ports)
    box = _running(box_name)
    try:
        # Ended by a service manager or a closed terminal: cancel the forward as Ctrl-C does.
        with following(), forward.opened(box, wish) as open_forward:
            if as_json:
                print_json("forward", box=box.name, host="127.0.0.1", **wish._asdict())
            else:
                echo(f"127.0.0.1:{wish.local}")
            sys.stdout.flush()
            if not quiet:
                narrate(f"leads to port {wish.remote} of {box.name}; Ctrl-C ends it")
            open_forward.wait()
    except KeyboardInterrupt:
        if not quiet:
            narrate("forward ended")


@click.command("code")
@box_argument()
@click.option("--editor", "editor_name", default="", help="code, cursor, windsurf or zed.")
@click.option("--print", "only_print", is_flag=True, help="Print the link, open nothing.")
@json_option
@quiet_option
def code_command(
    box_name: str | None, editor_name: str, only_print: bool, as_json: bool, quiet: bool
) -> None:
    """Open the work folder of BOX in your editor over Remote-SSH, and print the link.

    The editor is `editor` of devbox.toml, or VS Code. It finds the box through one Include line
    in your ssh configuration, which is added when missing (devbox ssh-config --remove undoes it).
    """
    from devbox.remote import editor
    from devbox.remote.config import include

    which = editor.editor(editor_name or workspace(quiet=True).spec.editor)
    box = _running(box_name)
    path = editor.workdir(box)
    link = editor.link(which, box, path)
    if not as_json:
        # First of all, so that a user has it whatever becomes of the rest.
        echo(link)
    if not only_print and include.install() and not quiet:
        narrate(f"added one Include to {include.user_config()}; undo: devbox ssh-config --remove")
    opened = not only_print and editor.open_in(which, box, path)
    if as_json:
        print_json("code", box=box.name, editor=which, path=path, link=link, opened=opened)
    if not opened and not only_print and not quiet:
        narrate(f"found neither {which} nor a program that opens links; open the link yourself")


@click.command("ssh-config")
@click.option("--install", "action", flag_value="install", help="Add the Include to your config.")
@click.option("--remove", "action", flag_value="remove", help="Take it out again.")
@json_option
@quiet_option
def ssh_config_command(action: str | None, as_json: bool, quiet: bool) -> None:
    """Show devbox's ssh configuration, or connect your own ssh to it.

    devbox keeps its hosts in a file of its own. --install puts one Include of it at the top of
    ~/.ssh/config, so that `ssh devbox-BOX` and editors find them; --remove takes it out and leaves
    every other byte as it was.
    """
    from devbox import paths
    from devbox.remote.config import include

    config, own = paths.ssh_config(), include.user_config()
    changed = {"install": include.install, "remove": include.remove}.get(action or "", bool)()
    _published()
    if as_json:
        print_json(
            "ssh-config",
            config=str(config),
            user_config=str(own),
            installed=include.installed(),
            changed=changed,
            text=config.read_text(encoding="utf-8"),
        )
    elif action is None:
        page(config.read_text(encoding="utf-8"), nl=False)
    if action == "install" and not quiet:
        for trouble in _aliases_in_trouble():
            narrate(trouble)
    if not quiet:
        state = "includes" if include.installed() else "does not include"
        narrate(f"{own} {'now ' if changed else ''}{state} {config}")


def _aliases_in_trouble() -> Iterator[str]:
    """What keeps `ssh devbox-NAME` from working though the Include is there."""
    from devbox.errors import SshError
    from devbox.remote.config import include
    from devbox.state.store import Store

    store = Store.open()
    try:
        for box in store.boxes.all():
            if box.endpoint and not box.state.is_over:
                try:
                    include.check(box)
                except SshError as error:
                    yield error.render()
    finally:
        store.close()


def reachable(box_name: str | None) -> Host:
    """As `_running`, without loading the model when there is nothing to explain."""
    from devbox import paths
    from devbox.state import fast_lookup

    name = None if box_name == _ONLY else box_name
    seen = fast_lookup.reachable(paths.state_db(), name, os.getcwd()) if name else None
    has_files = paths.ssh_config().exists() and paths.identity().exists()
    return seen if seen and has_files else _running(name)


def _running(box_name: str | None) -> Box:
    """The box a user means, when a login can work as far as we know."""
    from devbox import paths
    from devbox.remote.preconditions import check_running

    ws = workspace(quiet=True)
    box = ws.box(box_name)
    ws.store.close()
    check_running(box)
    if not paths.ssh_config().exists():
        _published()
    return box


def _published() -> None:
    """devbox's ssh configuration as the tracked boxes want it."""
    from devbox.remote.config import ssh_config
    from devbox.state.store import Store

    store = Store.open()
    try:
        ssh_config.publish(store.boxes.all)
    finally:
        store.close()


def _ssh(host: Host, remote: list[str], *, tty: bool) -> NoReturn:
    """Run ssh on this terminal and end as it does. When it ends as it does without a connection,
    the box's provider is asked why."""
    from devbox.remote.command import argv

    line = argv(host, remote, tty=tty)
    sys.stdout.flush()
    sys.stderr.flush()
    code = on_this_terminal(line)
    if code == _NO_CONNECTION:
        _explain(host.alias)
    sys.exit(code)


def on_this_terminal(line: list[str]) -> int:
    """The exit code of a program that has our terminal; its signals are its own. What ends it by
    a signal ends us by the same."""
    import signal

    from devbox.errors import UsageError

    typed = (signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in typed}
    default = [number for number in typed if before[number] != signal.SIG_IGN]
    try:
        child = os.posix_spawnp(line[0], line, os.environ, setsigdef=default)
        for number in (signal.SIGTERM, signal.SIGHUP):
            handler = signal.signal(number, lambda caught, _: os.kill(child, caught))
            before[number] = handler
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except FileNotFoundError:
        from devbox.process import require

        require(line[0])
        raise
    except OSError as error:
        raise UsageError(
            f"the command line cannot be passed to ssh: {error.strerror}",
            fix="put long input into a file or on stdin",
        ) from error
    finally:  # Ctrl-C ends what is asked after it, such as what became of the box
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _explain(alias: str) -> None:
    """Raise what became of the box; nothing when it runs, for then the program's code was 255."""
    from devbox import lifecycle
    from devbox.cli.common import workspace
    from devbox.errors import SshError

    ws = workspace(quiet=True)
    for box in ws.store.boxes.all():
        if box.alias == alias and not box.state.is_over:
            silent = SshError("no connection", box=box.id)
            told = lifecycle.why_silent(ws, silent)
            if told is not silent:
                raise told

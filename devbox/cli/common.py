"""What every verb shares: options, output rules, completion of names.

stdout is data, stderr is narration. `--json` prints one object {"version": 1, "kind": …, …}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, Unpack

import click

# Imported where used: `devbox exec` needs neither and must start fast.
if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from devbox.cli.event_log import EventLog
    from devbox.cli.screen import Screen, Style
    from devbox.errors import DevboxError
    from devbox.model import Box
    from devbox.money.exposure import Exposure
    from devbox.workspace import Workspace

JSON_VERSION = 1
F = TypeVar("F", bound=Callable[..., object])

#: where what would be printed goes instead, after --events
events: EventLog | None = None
#: what draws on the terminal of stderr at this moment; other lines go above it
screen: Screen | None = None


#: the workspace of this verb, once it has one
opened: list[Workspace] = []


def echo(line: str = "", *, err: bool = False, nl: bool = True, **style: Unpack[Style]) -> None:
    """One line to a stream, whatever it holds: a newline in a name or a message cannot make a line
    of its own, because what follows is indented. style: as of click.style."""
    page(line.replace("\n", "\n  "), err=err, nl=nl, **style)


def echo_all(lines: Iterable[tuple[str, Style]]) -> None:
    """Lines and their styles, as `echo` one by one, in a single write."""
    from devbox.text import clean

    if events:
        for line, style in lines:
            echo(line, **style)
        return
    shown = []
    for line, style in lines:
        whole = line.replace("\n", "\n  ")
        text = clean(whole, len(whole) + 1)
        shown.append(click.style(text, **style) if style else text)
    click.echo("\n".join(shown))


def page(text: str, *, err: bool = False, nl: bool = True, **style: Unpack[Style]) -> None:
    """Lines of text to a stream. Here, where text leaves, it is made harmless for a terminal."""
    from devbox.text import clean

    shown = clean(text, len(text) + 1)
    if events:
        events.say(shown)
        return
    styled = click.style(shown, **style) if style else shown
    if screen and err:
        screen.page(styled)
        return
    click.echo(styled, err=err, nl=nl)


def result(*lines: str, err: bool = False) -> None:
    """What a verb came to, on lines of its own; its last word in an event log."""
    if events:
        events.result = "; ".join(" ".join(line.split()) for line in lines)
        return
    for line in lines:
        echo(line, err=err)


def narrate(message: str) -> None:
    """One line for the user, on stderr."""
    echo(message, err=True)


def silent(_: str) -> None:
    """Narration that nobody asked for."""


def workspace(*, quiet: bool = False) -> Workspace:
    """The workspace of the current folder, narrating to stderr unless quiet."""
    from devbox.workspace import Workspace

    ws = Workspace.open(narrate=silent if quiet else narrate)
    opened[:] = [ws]
    if events and not quiet:
        ws.on_step = events.step
    return ws


def print_json(kind: str, **fields: object) -> None:
    """The documented, versioned JSON form on stdout."""
    click.echo(_json(kind, fields))


def json_error(error: DevboxError) -> None:
    """The same of an error, on stderr."""
    told = {"what": error.what, "means": error.means, "fix": error.fix, "code": error.exit_code}
    click.echo(_json("error", told), err=True)


def _json(kind: str, fields: Mapping[str, object]) -> str:
    import json

    import msgspec

    body = msgspec.json.encode({"version": JSON_VERSION, "kind": kind, **fields}).decode()
    # The same JSON, whose bytes do nothing on a terminal either.
    if not body.isprintable():
        body = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in body)
    return body


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def yes_option(function: F) -> F:
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def quiet_option(function: F) -> F:
    return click.option("--quiet", "-q", is_flag=True, help="No narration on stderr.")(function)


def verbose_option(function: F) -> F:
    return click.option("--verbose", "-v", is_flag=True, help="The whole log of a build.")(function)


def confirm(question: str, *, yes: bool, again: str = "") -> None:
    """Ask before something that costs or destroys; without a terminal --yes is needed. again: the
    command that was typed, to be typed with it."""
    if yes:
        return
    from devbox.text import clean

    if not sys.stdin.isatty():
        from devbox.errors import UsageError

        how = f"type it with --yes: {again} --yes" if again else "pass --yes to do it"
        raise UsageError(clean(question), fix=f"there is no terminal to ask at: {how}")
    click.confirm(clean(question), abort=True, err=True)


def approve(ws: Workspace, verb: str, options: Mapping[str, object], *, yes: bool) -> None:
    """Have what may cost more than the user wants unasked asked for, in `ws`. verb, options: as
    typed; the value of an option is True for a flag, and an argument's name is ''."""
    import shlex

    words = ["devbox", verb]
    for name, value in options.items():
        option = [f"--{name.replace('_', '-')}"] if name else []
        for each in value if isinstance(value, tuple) else [value]:
            words += [*option, *([] if each is True else [str(each)])] if each else []

    def ask(question: str) -> None:
        confirm(question, yes=yes, again=shlex.join(words))

    ws.approve = ask


def is_interactive() -> bool:
    """A user watches: colour and redrawing are welcome on stderr."""
    return sys.stderr.isatty()


def _complete_boxes(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    ws = workspace(quiet=True)
    live = ws.store.boxes.all()
    own = {box.name for box in live if ws.here.has(box) or not ws.here.inside} | set(ws.spec.boxes)
    others = {box.qualified for box in live if not ws.here.has(box)}
    return sorted(name for name in own | others if name.startswith(incomplete))


def box_option(help_text: str, *names: str) -> Callable[[F], F]:
    """--box, completed as BOX is."""
    return click.option("--box", *(names or ("box_name",)), help=help_text,
                        shell_complete=_complete_boxes)  # fmt: skip


def provider_option(help_text: str, *names: str, multiple: bool = False) -> Callable[[F], F]:
    """--provider, completed."""
    return click.option("--provider", *names, metavar="NAME", help=help_text,
                        shell_complete=_complete_providers, multiple=multiple)  # fmt: skip


def _complete_providers(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from devbox.providers import registry

    return [name for name in registry.NAMES if name.startswith(incomplete)]


def complete_hardware(
    context: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The hardware of the provider that is typed, or of the box's; of all for neither."""
    from click.shell_completion import CompletionItem

    from devbox.money import known
    from devbox.providers import registry
    from devbox.text import clean

    found: dict[str, str] = {}
    for provider in _typed_providers(context) or registry.NAMES:
        for each in known.hardware(provider):
            gpu = f"{each.gpus}× {clean(each.gpu, 40)}" if each.gpus else "no GPU"
            found.setdefault(each.name, gpu)
    return [CompletionItem(k, help=v) for k, v in found.items() if k.startswith(incomplete)]


def complete_gpus(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """GPUs by the names they have at every provider."""
    from devbox.money import known

    return [name for name in known.gpus() if name.lower().startswith(incomplete.lower())]


def _typed_providers(context: click.Context) -> list[str]:
    """Of the command line so far; none where nothing tells."""
    from devbox.errors import DevboxError

    if named := context.params.get("provider"):
        return [named] if isinstance(named, str) else list(named)
    name = context.params.get("box_name")
    with suppress(DevboxError):
        return [workspace(quiet=True).box(name).provider]
    with suppress(DevboxError):
        wanted = workspace(quiet=True).spec.box(name)[1]
        return list(wanted.providers or (wanted.provider,))
    return []


def box_argument(*, required: bool = False, then: str = "") -> Callable[[F], F]:
    """The BOX argument, completed from live and configured boxes. then: what must follow it; both
    are given as `words`, since click fills an optional argument before a required one."""
    if then:
        return click.argument(
            "words",
            nargs=-1,
            required=True,
            metavar=f"[BOX] {then}",
            shell_complete=_complete_boxes,
        )
    return click.argument(
        "box_name",
        metavar="BOX" if required else "[BOX]",
        required=required,
        shell_complete=_complete_boxes,
    )


def why_silent(error: DevboxError) -> DevboxError:
    """An error of a box that did not answer, with what became of the box."""
    if not getattr(error, "box", ""):
        return error
    from devbox import lifecycle

    return lifecycle.why_silent(workspace(quiet=True), error)


def costing(found: Exposure) -> str:
    """What a box costs, for the line that begins with 'costing'."""
    if found.now:
        return f"{found.rate} ({found.now.source})"
    return "nothing" if found.is_nothing else f"nothing yet as far as is known; {found.sentence}"


def typed(ws: Workspace, box: Box) -> str:
    """What names the box in a command that is typed in this folder."""
    import shlex

    return shlex.quote(box.name if ws.here.has(box) else box.ref)


def after_interrupt() -> str:
    """What Ctrl-C leaves behind: boxes that cost money, or may start to by themselves, and how to
    end them."""
    from devbox.money import exposure

    ws = workspace(quiet=True)
    boxes = ws.store.boxes.all()
    found = exposure.of_all(ws, boxes)
    named = [typed(ws, b) for b in boxes if found[b.id].now or found[b.id].may]
    costing = [f"  {typed(ws, b)} ({found[b.id].rate})" for b in boxes if found[b.id].now]
    waiting = [f"  {typed(ws, b)}: {found[b.id].sentence}" for b in boxes if found[b.id].may]
    if not named:
        return "interrupted; no tracked box costs money or starts to by itself"
    return "\n".join(
        [
            "interrupted",
            *(["still running and costing:", *costing] if costing else []),
            *(["not costing yet, as far as is known:", *waiting] if waiting else []),
            *(f"end it with: devbox down {name}" for name in named),
        ]
    )

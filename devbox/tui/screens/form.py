"""A job's form, made from its job.toml: a field for each input and argument."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Static, Switch

from devbox.errors import DevboxError
from devbox.spec import Argument, JobSpec
from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text
from devbox.tui.screens.fields import Field, Fields, choice
from devbox.tui.screens.pick import Pick

_WORDS = "words"
# No argument of a job has such a name.
_THEN = "when it has ended"
_ENDS = [("the box stays", "stays"), ("the box pauses", "pause"), ("the box ends", "down")]


class Filled(NamedTuple):
    """words: what the command line would take after `--`. then: its `--then`, "" for none."""

    words: list[str]
    then: str = ""


class Form(Dialog[Filled]):
    """check: raises a DevboxError that says which of the words is wrong; the form stays open until
    there is none. root: where relative paths count from. ends: the work ends by itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "pick", "Choose a file", show=False, priority=True),
    ]
    answers = (CANCEL, Answer("start", "Run"))

    def __init__(
        self,
        job: JobSpec,
        where: str,
        check: Callable[[JobSpec, list[str]], None],
        root: Path,
        *,
        ends: bool = True,
    ) -> None:
        super().__init__()
        self.title_text = f"Run {job.name} on {where}"
        self.job, self._check, self._root, self._ends = job, check, root, ends

    def body(self) -> Iterable[Widget]:
        if self.job.summary:
            yield text(plain(self.job.summary, 300), id="facts")
        fields = [
            Field(name, wanted.help or "a file or folder", Input(id=_id(name), compact=True),
                  required=wanted.required, path=True)
            for name, wanted in self.job.inputs.items()
        ]  # fmt: skip
        fields += [
            Field(name, argument.help, _field(name, argument), required=argument.required)
            for name, argument in self.job.args.items()
        ]
        if not fields:
            own = self.job.command == ("sh",)
            about = "the command" if own else "more words for its command"
            fields = [Field(_WORDS, about, Input(id=_id(_WORDS), compact=True))]
        if self._ends:
            ends = choice(_ENDS, "stays", id="when-ended")
            fields.append(Field(_THEN, "also with this computer off", ends))
        yield Fields(fields)
        yield text("", id="wrong")

    def on_mount(self) -> None:
        next(iter(self._fields.all.values())).take_focus()

    def on_resize(self) -> None:
        """All but the fields takes about 12 rows."""
        self._fields.styles.max_height = max(4, self.size.height - 12)

    @property
    def _fields(self) -> Fields:
        return self.query_one(Fields)

    @property
    def takes_words(self) -> bool:
        return not self.job.inputs and not self.job.args

    def words(self) -> list[str]:
        """What was filled in, as `--name=value` words; fields left empty keep their default."""
        if self.takes_words:
            return shlex.split(str(self._fields[_WORDS]))
        out = []
        for name in self._fields.all:
            if name == _THEN:
                continue
            option, value = name.replace("_", "-"), self._fields[name]
            if isinstance(value, bool):
                out.append(f"--{option}" if value else f"--no-{option}")
            elif value:
                out.append(f"--{option}={self._found(name, value)}")
        return out

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#start", Button).focus()

    def answered(self, which: str) -> None:
        try:
            words = self.words()
            if not self.takes_words:
                self._check(self.job, words)
        except (DevboxError, ValueError) as error:
            at_field = self._fields.tell(error)
            fix = error.fix if isinstance(error, DevboxError) else ""
            said = "" if at_field else f"{error}\n{fix}" if fix else str(error)
            self.query_one("#wrong", Static).update(Content(plain(said, 400)))
            return
        then = str(self._fields[_THEN]) if self._ends else ""
        self.dismiss(Filled(words, then if then in ("pause", "down") else ""))

    def action_pick(self) -> None:
        field = self._fields.focused
        if field and field.path:
            self.run_worker(self._pick(field))

    async def _pick(self, field: Field) -> None:
        path = await self.app.push_screen_wait(Pick(self._root, str(field.value)))
        if path:
            field.set_text(path)
        field.take_focus()

    def _found(self, name: str, value: str) -> str:
        """A path counts from the project's folder, as the form's list of files does."""
        if name not in self.job.inputs or value.startswith("~"):
            return value
        return str(self._root / value)


def _field(name: str, argument: Argument) -> Widget:
    default = argument.default
    if argument.type == "bool":
        return Switch(value=bool(default), id=_id(name))
    if argument.type == "choice":
        options = [(word, word) for word in argument.choices]
        return choice(options, None if default is None else str(default), id=_id(name))
    value = "" if default is None else str(default)
    kind = {"int": "integer", "float": "number"}.get(argument.type, "text")
    return Input(value, type=kind, id=_id(name), compact=True)  # type: ignore[arg-type]


def _id(name: str) -> str:
    return "f-" + name

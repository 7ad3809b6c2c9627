"""A job's form, made from its job.toml: a field for each input and argument."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static, Switch

from devbox.errors import DevboxError
from devbox.spec import Argument, JobSpec
from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text


class Form(Dialog[list[str]]):
    """Returns the words after `--` that the command line would take. check: raises a DevboxError
    that says which of them is wrong; the form stays open until there is none."""

    answers = (CANCEL, Answer("start", "Run"))

    def __init__(
        self, job: JobSpec, where: str, check: Callable[[JobSpec, list[str]], None]
    ) -> None:
        super().__init__()
        self.title_text = f"Run {job.name} on {where}"
        self.job, self._check = job, check

    def body(self) -> Iterable[Widget]:
        if self.job.summary:
            yield text(plain(self.job.summary, 300), id="facts")
        fields: list[Widget] = []
        for name, wanted in self.job.inputs.items():
            note = wanted.help or "a file or folder"
            fields += self._label(name, note, required=wanted.required)
            fields.append(Input(placeholder="path", id=_id(name), compact=True))
        for name, argument in self.job.args.items():
            fields += self._label(name, argument.help, required=argument.required)
            fields.append(_field(name, argument))
        if not fields:
            fields = [
                text("words after the command, as in a shell"),
                Input(id=_id("_words"), compact=True),
            ]
        yield VerticalScroll(*fields, id="fields", can_focus=False)
        yield text("", id="wrong")

    def on_mount(self) -> None:
        for kind in (Input, Select, Switch):
            found = self.query(kind)
            if found:
                found.first().focus()
                return

    @property
    def takes_words(self) -> bool:
        return not self.job.inputs and not self.job.args

    def words(self) -> list[str]:
        """What was filled in, as `--name=value` words; fields left empty keep their default."""
        if self.takes_words:
            return shlex.split(self.query_one(f"#{_id('_words')}", Input).value)
        out = []
        for name in (*self.job.inputs, *self.job.args):
            option = name.replace("_", "-")
            field = self.query_one(f"#{_id(name)}")
            if isinstance(field, Switch):
                out.append(f"--{option}" if field.value else f"--no-{option}")
            elif isinstance(field, Select):
                if field.value is not Select.NULL:
                    out.append(f"--{option}={field.value}")
            elif isinstance(field, Input) and field.value:
                out.append(f"--{option}={field.value}")
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
            fix = error.fix if isinstance(error, DevboxError) else ""
            said = f"{error}\n{fix}" if fix else str(error)
            self.query_one("#wrong", Static).update(Content(plain(said, 400)))
            return
        self.dismiss(words)

    def _label(self, name: str, note: str, *, required: bool) -> list[Widget]:
        star = " *" if required else ""
        label = Content.assemble((plain(name, 40) + star, "bold"), ("  " + plain(note, 200), "dim"))
        return [Static(label, classes="label")]


def _field(name: str, argument: Argument) -> Widget:
    default = argument.default
    if argument.type == "bool":
        return Switch(value=bool(default), id=_id(name))
    if argument.type == "choice":
        options = [(Content(plain(choice, 60)), choice) for choice in argument.choices]
        chosen = default if default in argument.choices else Select.NULL
        return Select(options, value=chosen, id=_id(name), compact=True)
    value = "" if default is None else str(default)
    kind = {"int": "integer", "float": "number"}.get(argument.type, "text")
    return Input(value, type=kind, id=_id(name), compact=True)  # type: ignore[arg-type]


def _id(name: str) -> str:
    return "f-" + name

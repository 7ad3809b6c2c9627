"""The fields of forms: each in a border that carries its label and what it is for, with its error
right below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Select, Static, Switch

from devbox.errors import DevboxError
from devbox.text_layout import plain

_OPTION = re.compile(r"--([a-z0-9][a-z0-9-]*)")


class Field(Vertical):
    """One value. name: also its option's, with '-' for '_'. path: it names a file or folder here,
    which ctrl+o chooses from a list."""

    DEFAULT_CSS = """
    Field { height: auto; border: round $border; padding: 0 1; }
    Field:focus-within { border: round $primary; }
    Field.-wrong { border: round $error; }
    Field .field-error { display: none; color: $error; }
    Field.-wrong .field-error { display: block; }
    """

    def __init__(
        self, name: str, about: str, value: Widget, *, required: bool = False, path: bool = False
    ) -> None:
        super().__init__()
        self.key, self.path, self._value = name, path, value
        about += "  ctrl+o: choose" if path else ""
        self.border_title = Content.assemble((plain(name, 40) + (" *" if required else ""), "bold"))
        self.border_subtitle = Content(plain(about, 100))

    def compose(self) -> ComposeResult:
        yield self._value
        yield Static("", classes="field-error")

    @property
    def value(self) -> str | bool:
        """What is in it; '' for nothing."""
        if isinstance(self._value, Switch):
            return self._value.value
        if isinstance(self._value, Select):
            return "" if self._value.value is Select.NULL else str(self._value.value)
        assert isinstance(self._value, Input)
        return self._value.value.strip()

    def set_text(self, text: str) -> None:
        assert isinstance(self._value, Input)
        self._value.value = text
        self._value.cursor_position = len(text)

    def wrong(self, what: str) -> None:
        """Show an error; '' takes it away."""
        self.set_class(bool(what), "-wrong")
        self.query_one(".field-error", Static).update(Content(plain(what, 400)))

    def take_focus(self) -> None:
        self._value.focus()


class Fields(VerticalScroll, can_focus=False):
    """The fields of a form, by name."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.all = {field.key: field for field in fields}
        super().__init__(*self.all.values(), id="fields")

    def __getitem__(self, name: str) -> str | bool:
        return self.all[name].value

    @property
    def focused(self) -> Field | None:
        return next((f for f in self.all.values() if f.has_focus_within), None)

    def tell(self, error: DevboxError | ValueError) -> bool:
        """Show an error at the field whose option it names, and go there; whether there is one."""
        for field in self.all.values():
            field.wrong("")
        said = error.fix if isinstance(error, DevboxError) else ""
        for option in _OPTION.findall(str(error)):
            named = self.all.get(option.replace("-", "_")) or self.all.get(option)
            if named:
                named.wrong(f"{error}" + (f" ({said})" if said else ""))
                named.take_focus()
                named.scroll_visible(animate=False)
                return True
        return False


def choice(options: Sequence[tuple[str, str]], value: str | None, **fields: str) -> Select[str]:
    """A list to choose from: (what is shown, what it stands for)."""
    chosen = value if value in [one for _, one in options] else Select.NULL
    shown = [(Content(plain(label, 80)), one) for label, one in options]
    return Select(shown, value=chosen, compact=True, **fields)  # type: ignore[arg-type]

"""A new box: its name, where it lives, which GPU or hardware, which image; written into
devbox.toml."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from devbox.errors import DevboxError
from devbox.model import Offer
from devbox.templates import NewBox
from devbox.text import dollars, size
from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text
from devbox.tui.screens.fields import Field, Fields, choice


class NewBoxForm(Dialog[str]):
    """offers: those of a provider. write: writes the box, or raises a DevboxError and the form
    stays open. Returns the name of the box that was written."""

    answers = (CANCEL, Answer("start", "Write it"))
    title_text = "New box"

    def __init__(
        self,
        name: str,
        providers: Sequence[str],
        offers: Callable[[str], list[Offer]],
        write: Callable[[str, NewBox], object],
    ) -> None:
        super().__init__()
        self._name, self._providers = name, list(providers)
        self._offers_of, self._write = offers, write

    def body(self) -> Iterable[Widget]:
        first = self._providers[0]
        providers = choice([(name, name) for name in self._providers], first, id="provider")
        yield Fields(
            [
                Field("name", "of the box: a-z, 0-9, -", Input(self._name, compact=True)),
                Field("provider", "where it lives", providers),
                Field("hardware", "with its price; empty: the cheapest that fits",
                      choice([], None, id="hardware")),
                Field("gpu", "instead of hardware: L40S, A100:2", Input(compact=True)),
                Field("image", "empty: what the provider takes", Input(compact=True)),
                Field("host", "of a machine of your own: user@host", Input(compact=True)),
            ]
        )  # fmt: skip
        yield text("", id="wrong")

    def on_mount(self) -> None:
        self.query_one(Fields).all["name"].take_focus()

    def on_resize(self) -> None:
        """All but the fields takes about 9 rows."""
        self.query_one(Fields).styles.max_height = max(4, self.size.height - 9)

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        if event.select.id == "provider" and event.value is not Select.NULL:
            self.run_worker(self._ask(str(event.value)), exclusive=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#start", Button).focus()

    async def _ask(self, provider: str) -> None:
        """List the provider's hardware, once it answers."""
        listing = self.query_one("#hardware", Select)
        self._say(f"asking {provider} for its hardware and prices …")
        listing.set_options([])
        try:
            found = await self.ask(lambda: self._offers_of(provider))
            self._say("")
        except DevboxError as error:
            self._say(f"its hardware is not known now: {error.what}")
            return
        listing.set_options([(Content(offered(each)), each.hardware.name) for each in found])

    def answered(self, which: str) -> None:
        fields = self.query_one(Fields)
        told = {key: str(fields[key]) for key in ("provider", "gpu", "hardware", "image", "host")}
        name, new = str(fields["name"]), NewBox(**told)
        self.run_worker(self._answer(name, new), exclusive=True)

    async def _answer(self, name: str, new: NewBox) -> None:
        try:
            await self.ask(lambda: self._write(name, new))
        except (DevboxError, ValueError) as error:
            fix = error.fix if isinstance(error, DevboxError) else ""
            self._say(f"{error}\n{fix}" if fix else str(error))
            return
        self.dismiss(name)

    def _say(self, what: str) -> None:
        self.query_one("#wrong", Static).update(Content(plain(what, 400)))


def offered(offer: Offer) -> str:
    """Hardware with its price; an unknown price says so."""
    hardware = offer.hardware
    gpu = f"{hardware.gpus}× {hardware.gpu} {size(hardware.vram)}" if hardware.gpus else "no GPU"
    micro = offer.price.micro_per_hour
    price = "price unknown" if micro is None else dollars(micro, per_hour=True)
    return f"{plain(hardware.name, 24)}  {price}  {plain(gpu, 40)}"

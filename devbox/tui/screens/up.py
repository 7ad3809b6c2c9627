"""Choose the hardware of a box, with its price: to bring it up, or to move it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from devbox.errors import DevboxError
from devbox.model import Offer
from devbox.money.projection import Projection
from devbox.state.costs import cost
from devbox.text import dollars, duration, size
from devbox.text_layout import plain
from devbox.tui.queries import Choice
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text


class Up(Dialog[str]):
    """find: finds the offers, while the dialog is open; the chosen one of them comes first.
    Returns the hardware, '' for the chosen one."""

    def __init__(self, title: str, verb: str, find: Callable[[], Choice]) -> None:
        super().__init__()
        self.title_text, self._find = title, find
        self.answers = (CANCEL, Answer("start", verb))
        self._choice: Choice | None = None
        self._offers: list[Offer] = []

    def body(self) -> Iterable[Widget]:
        yield text("asking for offers and prices …", id="facts")
        yield OptionList(id="choices", compact=True)
        yield text("", id="wrong")

    def on_mount(self) -> None:
        self.query_one("#cancel").focus()
        self.run_worker(self._ask())

    async def _ask(self) -> None:
        try:
            choice = await self.ask(self._find)
        except DevboxError as error:
            self.query_one("#facts", Static).update("")
            self._wrong(error.what, f"({error.fix})" if error.fix else "")
            return
        self._choice = choice
        self._offers = list(choice.offers)
        if choice.chosen in self._offers:
            self._offers.remove(choice.chosen)
            self._offers.insert(0, choice.chosen)
        listing = self.query_one("#choices", OptionList)
        listing.add_options([Option(_row(offer, offer is choice.chosen)) for offer in self._offers])
        if choice.why:
            self._wrong(choice.why, "")
        if self._offers:
            listing.highlighted = 0
            listing.focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._tell(self._offers[event.option_index])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.query_one("#start").focus()

    def answered(self, which: str) -> None:
        at = self.query_one("#choices", OptionList).highlighted
        if self._choice is None or at is None or not self._offers:
            self._wrong("there is no offer to take", "choose other hardware in devbox.toml")
            return
        offer = self._offers[at]
        chosen = self._choice.chosen
        self.dismiss("" if offer is chosen else offer.hardware.name)

    def _tell(self, offer: Offer) -> None:
        assert self._choice
        wanted = self._choice.wanted
        micro = offer.price.micro_per_hour
        most = cost(offer.price, wanted.max_uptime)
        question = Projection(most, wanted.max_uptime, self._choice.limit).question
        verb = "ends" if self._choice.ends else "pauses"
        lines = [
            f"{offer.provider}  {plain(offer.hardware.name)}  {dollars(micro, per_hour=True)} "
            f"({plain(offer.price.source, 60)})",
            f"{'at most' if self._choice.ceiling else 'nothing keeps'} "
            f"{duration(wanted.max_uptime)} (max_uptime): {dollars(most)}",
            f"idle for {duration(wanted.idle.after)}, it {verb} itself"
            if wanted.idle.enabled and self._choice.pauses
            else f"it does not {verb[:-1]} itself when idle",
        ]
        lines += filter(None, (plain(offer.note, 300), question))
        self.query_one("#facts", Static).update(Content("\n".join(lines)))

    def _wrong(self, what: str, fix: str) -> None:
        self.query_one("#wrong", Static).update(Content(plain(f"{what} {fix}".strip(), 400)))


def _row(offer: Offer, chosen: bool) -> Content:
    hardware = offer.hardware
    gpu = f"{hardware.gpus}× {hardware.gpu} {size(hardware.vram)}" if hardware.gpus else "no GPU"
    cpu = f"{hardware.cpus:g} CPU, {size(hardware.memory)}" if hardware.memory else ""
    price = dollars(offer.price.micro_per_hour, per_hour=True)
    row = f"{plain(hardware.name, 18):<18} {price:>12}  {plain(gpu, 24):<24} {cpu}"
    return Content.assemble(("✔ " if chosen else "  ", "$text-success"), row)

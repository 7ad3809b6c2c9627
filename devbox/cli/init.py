"""`devbox init`: a devbox.toml from a template, from options, or from the answers to three
questions: where, which GPU, which image."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from devbox import spec, templates
from devbox.cli.common import echo, json_option, narrate, print_json, provider_option, workspace
from devbox.errors import DevboxError, NotFound, UsageError
from devbox.model import Offer
from devbox.money import choices, offers
from devbox.money.fit import best, rank
from devbox.providers import registry
from devbox.spec.provider_settings import BOX_KEYS
from devbox.templates import NewBox
from devbox.text import clean, did_you_mean, dollars
from devbox.text_layout import table
from devbox.workspace import Workspace


def _complete_templates(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [t.name for t in templates.catalogue() if t.name.startswith(incomplete)]


@click.command("init")
@click.argument("template", required=False, shell_complete=_complete_templates)
@provider_option("Where the box lives.")
@click.option("--gpu", default="", metavar="NAME", help="A GPU by name, such as L40S or A100:2.")
@click.option("--hardware", default="", metavar="NAME", help="The provider's own hardware.")
@click.option("--image", default="", metavar="NAME", help="An image (devbox image ls).")
@click.option("--host", default="", metavar="TARGET", help="Your machine, as ssh takes it.")
@click.option("--list", "listing", is_flag=True, help="Show the templates.")
@json_option
def init_command(
    template: str | None,
    provider: str | None,
    gpu: str,
    hardware: str,
    image: str,
    host: str,
    listing: bool,
    as_json: bool,
) -> None:
    """Write a commented devbox.toml into this folder.

    Asks where, which GPU and which image. With options or a TEMPLATE, and
    without a terminal, it asks nothing.

    \b
    devbox init
    devbox init --provider modal --gpu L40S
    devbox init sharp            one of: devbox init --list
    """
    given = NewBox(provider or "", gpu, hardware, image, host)
    if listing:
        _list(as_json)
        return
    if template is not None and any(given):
        raise UsageError(
            "a template says where and on what its box lives: give one, or options, not both",
            fix="devbox init --list shows the templates",
        )
    if template is not None or not (any(given) or _can_ask(as_json)):
        chosen = templates.BASIC if template is None else template
        written = templates.write(templates.get(chosen), Path.cwd())
    else:
        templates.require_free(Path.cwd() / spec.FILE_NAME)
        ws = workspace(quiet=as_json)
        new = _checked(ws, given) if any(given) else _ask(ws)
        written = [templates.create(new, Path.cwd())]
    if as_json:
        print_json("init", files=[str(path) for path in written])
        return
    for path in written:
        echo(f"wrote {path.relative_to(Path.cwd())}")
    _offer_setup(Path.cwd())
    boxes = spec.load(Path.cwd() / spec.FILE_NAME).boxes.values()
    for name in dict.fromkeys(box.provider for box in boxes):
        echo(f"next: devbox up; devbox login {name} checks first what it needs", err=True)


def _offer_setup(folder: Path) -> None:
    """Name the setup line for what the project needs, where its boxes have none."""
    from devbox.jobs import setup_offer

    boxes = spec.load(folder / spec.FILE_NAME).boxes
    offer = setup_offer.find(folder)
    if offer and boxes and not any(box.setup for box in boxes.values()):
        narrate(offer.sentence(next(iter(boxes))))


def _list(as_json: bool) -> None:
    rows = [{"name": t.name, "summary": t.summary} for t in templates.catalogue()]
    if as_json:
        print_json("templates", templates=rows)
        return
    for row in rows:
        echo(f"{row['name']:16} {row['summary']}")


def _can_ask(as_json: bool) -> bool:
    return sys.stdin.isatty() and not as_json


def needs_host(provider: str) -> bool:
    """Whether its boxes are machines of the user's, which must be named."""
    return provider in BOX_KEYS["host"]


def _checked(ws: Workspace, new: NewBox) -> NewBox:
    """What was given by options, and what it costs. NotFound when its provider does not have it.
    One that cannot be asked now is asked again by `devbox up`."""
    if not new.provider:
        raise _which_provider(ws, new)
    spec.settings_type(new.provider)  # refuses one that does not exist
    if needs_host(new.provider) and not new.host:
        raise UsageError(
            f"boxes of {new.provider} are machines of yours: say which one",
            means="nothing was written",
            fix=f"devbox init --provider {new.provider} --host user@machine",
        )
    text = templates.document(new, Path.cwd())
    wanted = next(iter(spec.parse(text, Path.cwd() / spec.FILE_NAME).boxes.values()))
    try:
        offer = best(ws.provider(new.provider), wanted)
    except NotFound as error:
        error.means = "nothing was written"
        raise
    except DevboxError as error:
        narrate(f"{new.provider}: its hardware and prices are unknown for now: {error.what}")
    else:
        ws.narrate(f"{new.provider} {offer.hardware.name}: {_price(offer)}")
    return new


def _which_provider(ws: Workspace, new: NewBox) -> UsageError:
    found, _ = offers.gather(ws, registry.NAMES) if new.gpu else ([], {})
    cheapest: dict[str, Offer] = {}
    for offer in offers.select(found, gpu=new.gpu):
        cheapest.setdefault(offer.provider, offer)
    where = ", ".join(f"{name} for {_price(offer)}" for name, offer in cheapest.items())
    one = next(iter(cheapest), registry.NAMES[0])
    said = f": {clean(new.gpu, 40)} is at {where}" if where else ""
    options = [f"--{key} {clean(value, 40)}" for key, value in new._asdict().items() if value]
    return UsageError(
        f"name a provider{said}",
        means="nothing was written",
        fix=" ".join(["devbox init --provider", one, *options]),
    )


def _price(offer: Offer) -> str:
    """'$1.80/h (live)'; a price that nobody tells is 'price unknown'."""
    if offer.price.micro_per_hour is None:
        return "price unknown"
    return f"{dollars(offer.price.micro_per_hour, per_hour=True)} ({offer.price.source})"


def _hourly(offer: Offer) -> str:
    return dollars(offer.price.micro_per_hour, per_hour=True)


class _Answer(NamedTuple):
    """name: what is typed for it, besides its number. notes: the columns beside it."""

    name: str
    notes: tuple[str, ...]


def _ask(ws: Workspace) -> NewBox:
    """The three questions; Enter takes the first answer of each."""
    where = {each.name: each.summary for each in templates.catalogue()}
    places = [_Answer(name, (where.get(name, ""),)) for name in registry.NAMES]
    provider = _choose("Where?", places)
    new = NewBox(provider)
    if needs_host(provider):
        target = click.prompt("Which machine? As ssh takes it, such as user@machine", err=True)
        return new._replace(host=target.strip())
    narrate("asking for hardware and prices …")
    found, failed = offers.gather(ws, registry.NAMES)
    hardware = ""
    if provider in failed:
        narrate(f"{provider}: its hardware and prices are unknown for now: {failed[provider]}")
    else:
        new, hardware = _ask_hardware(new, found)
    return _ask_image(ws, new, hardware)


def _ask_hardware(new: NewBox, found: Sequence[Offer]) -> tuple[NewBox, str]:
    """The box with its GPU or hardware, and the name of the hardware that this is now."""
    own = [offer for offer in found if offer.provider == new.provider]
    if len(own) == 1:
        return new, own[0].hardware.name
    gpus = [gpu for gpu in choices.gpus(found) if new.provider in gpu.offers]
    gpus.sort(key=lambda gpu: rank(gpu.offers[new.provider]))
    plain = choices.plain(own).get(new.provider)
    rows: list[tuple[str, str, str, str]] = []
    meant: list[tuple[NewBox, str]] = []
    for gpu in gpus:
        offer = gpu.offers[new.provider]
        others = [f"{name} {_hourly(o)}" for name, o in gpu.offers.items() if name != new.provider]
        also = f"also {', '.join(others)}" if others else ""
        rows.append((gpu.name, f"{round(gpu.vram / (1 << 30))} GB", _hourly(offer), also))
        meant.append((new._replace(gpu=gpu.name), offer.hardware.name))
    if gpus and plain:
        rows.append(("none", "", _hourly(plain), f"{plain.hardware.name}, without a GPU"))
        meant.append((new._replace(hardware=plain.hardware.name), plain.hardware.name))
    for offer in () if gpus else offers.select(own):  # its GPUs have no name of their own
        named = offer.hardware.name
        rows.append((named, offer.hardware.gpu or "no GPU", _hourly(offer), ""))
        meant.append((new._replace(hardware=named), named))
    answers = [_Answer(row[0], row[1:]) for row in rows]
    sources = sorted({offer.price.source for offer in own if offer.price.source})
    told = f" Prices: {', '.join(sources)}." if sources else ""
    chosen = _choose(f"Which GPU?{told}", answers)
    return meant[[row[0] for row in rows].index(chosen)]


def _ask_image(ws: Workspace, new: NewBox, hardware: str) -> NewBox:
    from devbox.images import templates as images

    chosen = ws.provider(new.provider).default_image(hardware)
    if not chosen:
        return new  # its boxes have no image
    summaries = {each.name: each.summary for each in images.catalogue()}
    fitting = _Answer("default", (f"{chosen}, which fits the hardware",))
    answers = [fitting, *(_Answer(name, (text,)) for name, text in summaries.items())]
    image = _choose("Which image? One of these, or a Docker reference.", answers, others=True)
    return new if image == fitting.name else new._replace(image=image)


def _choose(question: str, answers: Sequence[_Answer], *, others: bool = False) -> str:
    """The name of one of the answers. others: any other single word is an answer too."""
    narrate(question)
    rows = [(str(number), each.name, *each.notes) for number, each in enumerate(answers, 1)]
    for line in table(rows, right=[0]):
        narrate(f"  {line}")
    read = _reader([each.name for each in answers], others)
    return str(click.prompt("answer", default="1", err=True, value_proc=read))


def _reader(names: Sequence[str], others: bool) -> Callable[[str], str]:
    by_word = {name.lower(): name for name in names}

    def read(typed: str) -> str:
        word = typed.strip()
        if word.isdecimal() and 1 <= int(word) <= len(names):
            return names[int(word) - 1]
        if word.lower() in by_word:
            return by_word[word.lower()]
        if others and word.isprintable() and not word.isdecimal() and len(word.split()) == 1:
            return word
        near = did_you_mean(word, names)
        raise click.UsageError(f"{clean(word, 40)!r} is none of them. {near}".strip())

    return read

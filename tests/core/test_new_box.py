"""A new box in devbox.toml: composed from its provider's template, and which GPUs can be named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from devbox import spec, templates
from devbox.errors import Conflict, DevboxError, SpecError
from devbox.model import Hardware, Offer, Price
from devbox.money import choices
from devbox.money.fit import has_gpu
from devbox.providers import registry
from devbox.spec import compose
from devbox.templates import NewBox

GIB = 1 << 30


def offer(
    provider: str, name: str, gpu: str, count: int, gigabytes: int, micro: int | None
) -> Offer:
    return Offer(provider, Hardware(name, gpu, count, gigabytes * GIB * count), Price(micro), 0.0)


OFFERS = [
    offer("far", "cpu", "", 0, 0, 10_000),
    offer("far", "l40sx1", "L40S", 1, 48, 1_800_000),
    offer("far", "l40sx4", "L40S", 4, 48, 8_300_000),
    offer("far", "a100-large", "A100", 1, 80, 2_500_000),
    offer("near", "L40S", "NVIDIA L40S", 1, 48, 1_950_000),
    offer("near", "A100-40GB", "A100-40GB", 1, 40, 2_100_000),
    offer("near", "A100-80GB", "A100-80GB", 1, 80, 2_600_000),
    offer("dear", "new", "RTX PRO 6000", 1, 96, None),
    offer("engine", "gpu", "NVIDIA", 1, 0, 0),
]


def test_a_gpu_has_one_name_at_every_provider_and_the_name_asks_for_it() -> None:
    found = choices.gpus(OFFERS)
    assert [gpu.name for gpu in found] == ["L40S", "A100-40GB", "A100-80GB", "RTX-PRO-6000"]
    assert {p: o.hardware.name for p, o in found[0].offers.items()} == {
        "far": "l40sx1",
        "near": "L40S",
    }
    assert found[2].offers.keys() == {"far", "near"}
    assert found[3].cheapest.price.micro_per_hour is None
    for gpu in found:
        assert all(has_gpu(gpu.name, each.hardware) for each in gpu.offers.values())
    assert choices.plain(OFFERS)["far"].hardware.name == "cpu"


@pytest.mark.parametrize("provider", registry.NAMES)
def test_each_provider_has_a_template_and_its_box_is_what_was_asked(
    provider: str, home: Path
) -> None:
    text = templates.document(
        NewBox(provider, gpu="L40S", image='we/"own\\one:1', host="me@lab" * (provider == "ssh")),
        home / "My Project",
    )
    found = spec.parse(text, home / "devbox.toml")
    assert list(found.boxes) == ["my-project"]
    box = found.boxes["my-project"]
    assert (box.provider, box.gpu, box.hardware) == (provider, "L40S", "")
    assert box.image == 'we/"own\\one:1'
    by_name = templates.document(NewBox(provider, hardware="l4x4"), home / "p")
    box = spec.parse(by_name, home / "devbox.toml").boxes["p"]
    assert (box.gpu, box.hardware) == ("", "l4x4")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("#" in line for line in lines) >= 8, "it is commented"


def test_values_are_set_where_the_comment_is_and_nothing_else_changes() -> None:
    text = 'a = 1\n[boxes.dev]   # mine\n# gpu = "T4"        # which\nimage = "cpu"\n'
    text += "\n[boxes.dev.sync]\n"
    done = compose.with_values(text, "boxes.dev", {"gpu": "L4", "image": None, "host": "a\x7f\n"})
    assert done.splitlines() == [
        "a = 1",
        "[boxes.dev]   # mine",
        'gpu = "L4"          # which',
        '# image = "cpu"',
        'host = "a\\u007f\\n"',
        "",
        "[boxes.dev.sync]",
    ]
    assert tomllib.loads(done)["boxes"]["dev"]["host"] == "a\x7f\n"
    with pytest.raises(KeyError):
        compose.with_values(text, "boxes.other", {"gpu": "L4"})


def test_a_box_is_added_below_what_is_there(home: Path) -> None:
    file = templates.create(NewBox("local"), home)
    before = file.read_text()
    templates.add(NewBox("ssh", host="me@lab"), "lab", file)
    assert file.read_text().startswith(before.rstrip())
    loaded = spec.load(file)
    assert not loaded.withheld, "what the user wrote with devbox is trusted"
    assert loaded.box("lab")[1].host == "me@lab"
    with pytest.raises(Conflict):
        templates.add(NewBox("local"), "lab", file)
    with pytest.raises(Conflict):
        templates.create(NewBox("local"), home)


def test_adding_a_box_gives_no_trust_that_was_not_given(home: Path) -> None:
    file = home / "devbox.toml"
    file.write_text('[boxes.theirs]\nprovider = "ssh"\nhost = "elsewhere"\n')
    templates.add(NewBox("ssh", host="me@lab"), "lab", file)
    assert "boxes.theirs.host" in spec.load(file).withheld


@pytest.mark.parametrize("new", [NewBox("nowhere"), NewBox("modal", host="me@lab")])
def test_a_box_that_cannot_be_is_not_written(new: NewBox, home: Path) -> None:
    with pytest.raises(DevboxError) as told:
        templates.create(new, home)
    assert told.value.exit_code in (SpecError.exit_code, 2)
    assert not (home / "devbox.toml").exists()

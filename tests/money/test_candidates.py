"""What a box with several choices is asked for, in which order, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import spec
from devbox.errors import NotFound, SpecError
from devbox.model import Hardware, Offer, Price
from devbox.money.fit import candidates, fit
from devbox.spec import BoxSpec, Bytes, OnProvider, trust

GIB = 1 << 30
LISTED = """
[boxes.b]
providers = ["hf-job", "modal"]
hardware = "l4x1"
image = "cpu"
[boxes.b.on.modal]
hardware = ["L4", "T4"]
image = "cuda12.6"
"""


def offer(provider: str, name: str, gpu: str, dollars: float | None, vram: int = 24) -> Offer:
    price = None if dollars is None else round(dollars * 1e6)
    return Offer(provider, Hardware(name, gpu, 1, vram * GIB), Price(price), 0.0)


OFFERS = [
    offer("hf-job", "l4x1", "L4", 0.8),
    offer("hf-job", "a100-large", "A100", 2.5, 80),
    offer("modal", "L4", "L4", 0.9),
    offer("modal", "T4", "T4", 0.6, 16),
    offer("modal", "A100-80GB", "A100-80GB", 2.6, 80),
    offer("local", "gpu", "L4", None),
]


def names(wanted: BoxSpec) -> list[str]:
    found = candidates(wanted, OFFERS)
    return [f"{each.offer.provider} {each.offer.hardware.name}" for each in found]


def loaded(home: Path, text: str, user: str = "") -> spec.Spec:
    config = home / "config.toml"
    config.write_text(user)
    file = home / "devbox.toml"
    file.write_text(text)
    return spec.load(file, config)


def test_each_choice_is_tried_as_written_or_the_cheapest_first(home: Path) -> None:
    wanted = loaded(home, LISTED).boxes["b"]
    assert wanted.provider == "hf-job"
    assert names(wanted) == ["hf-job l4x1", "modal L4", "modal T4"]
    cheapest = loaded(home, LISTED.replace("image = ", 'choose = "cheapest"\nimage = ', 1))
    assert names(cheapest.boxes["b"]) == ["modal T4", "hf-job l4x1", "modal L4"]
    specs = [each.spec for each in candidates(wanted, OFFERS)]
    assert [each.image for each in specs] == ["cpu", "cuda12.6", "cuda12.6"]
    assert specs[1] == BoxSpec(provider="modal", hardware="L4", image="cuda12.6")
    assert spec.decode_box(spec.encode_box(wanted)) == wanted


def test_of_what_is_needed_the_dearer_is_a_choice_only_under_a_limit() -> None:
    large = BoxSpec(provider="modal", vram=Bytes(20 * GIB))
    assert names(large) == ["modal L4"]
    both = BoxSpec(providers=("hf-job", "modal"), vram=Bytes(20 * GIB), max_price=2.55)
    assert names(both) == ["hf-job l4x1", "hf-job a100-large", "modal L4"]
    listed = BoxSpec(provider="modal", hardware=("A100-80GB", "T4"), max_price=1.0)
    assert names(listed) == ["modal T4"]
    with pytest.raises(NotFound, match="A100-80GB costs"):
        candidates(BoxSpec(provider="modal", hardware=("A100-80GB", "L4"), max_price=0.1), OFFERS)


def test_one_provider_that_has_nothing_leaves_the_others_and_a_wrong_name_does_not() -> None:
    gpu = BoxSpec(providers=("hf-job", "modal"), gpu="T4")
    assert names(gpu) == ["modal T4"]
    assert names(BoxSpec(providers=("docker", "modal"), hardware="L4")) == ["modal L4"]
    with pytest.raises(NotFound, match="hf-job has no hardware 'L4'"):
        candidates(BoxSpec(providers=("modal", "hf-job"), hardware="L4"), OFFERS)
    own = {"modal": OnProvider(gpu="L4")}
    mixed = BoxSpec(providers=("hf-job", "modal"), hardware="l4x1", on=own)
    assert names(mixed) == ["hf-job l4x1", "modal L4"]


def test_another_name_of_the_same_hardware_is_no_second_choice() -> None:
    upper = candidates(
        BoxSpec(provider="modal", hardware=("l4", "L4", "t4")), OFFERS, lambda _, name: name.upper()
    )
    assert [(each.spec.hardware, each.offer.hardware.name) for each in upper] == [
        ("l4", "L4"),
        ("t4", "T4"),
    ]
    assert fit(BoxSpec(hardware=("T4", "L4")), OFFERS).hardware.name == "T4"


@pytest.mark.parametrize(
    ("toml", "what"),
    [
        ("providers = []", "boxes.b.providers is an empty list"),
        ('providers = ["modal", "modal"]', "boxes.b.providers has 'modal' twice"),
        ('providers = ["modal", "azure"]', "there is no provider 'azure'"),
        ('providers = "modal"', "boxes.b.providers: Expected `array`"),
        ('providers = ["modal"]\nprovider = "modal"', "has both provider and providers"),
        ("hardware = []", "boxes.b.hardware is an empty list"),
        ('hardware = ["x", "x"]', "boxes.b.hardware has 'x' twice"),
        ('hardware = ["x", ""]', "boxes.b.hardware: a name in the list is empty"),
        ("hardware = [1]", "boxes.b.hardware"),
        ('choose = "dearest"', "boxes.b.choose"),
        ('capacity_timeout = "0s"', "capacity_timeout must be above 0"),
        ('on.modal.image = "cpu"', "modal is not one of its providers"),
        ('providers = ["modal"]\non.docker.image = "cpu"', "docker is not one of its providers"),
        ('providers = ["modal"]\non.moda.image = "cpu"', "there is no provider 'moda'"),
        ('providers = ["modal"]\non.modal.hardware = []', "on.modal.hardware is an empty list"),
        ('providers = ["modal"]\non.modal.sync = {}', "unknown key boxes.b.on.modal.sync"),
        ('providers = ["hf-job"]\non.hf-job.region = "us"', "region is a key of modal boxes"),
        ('providers = ["hf-job"]\nregion = "us"', "region is a key of modal boxes"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(home: Path, toml: str, what: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(home, f"[boxes.b]\n{toml}\n")
    assert what in caught.value.what
    assert caught.value.fix


def test_where_a_box_says_itself_where_it_lives_the_defaults_do_not(home: Path) -> None:
    user = '[defaults]\nproviders = ["modal", "hf-job"]\non.modal.image = "cpu"\n'
    boxes = loaded(home, '[boxes.a]\n[boxes.b]\nprovider = "docker"\n', user).boxes
    assert (boxes["a"].providers, boxes["a"].on["modal"].image) == (("modal", "hf-job"), "cpu")
    assert (boxes["b"].provider, boxes["b"].providers, boxes["b"].on) == ("docker", (), {})
    one = loaded(home, '[boxes.a]\nproviders = ["hf-job"]\n', '[defaults]\nprovider = "modal"\n')
    assert one.boxes["a"].provider == "hf-job"


def test_options_of_up_hold_at_every_provider(home: Path) -> None:
    toml = loaded(home, LISTED)
    assert names(toml.with_changes("b", {"gpu": "L4"}).boxes["b"]) == ["hf-job l4x1", "modal L4"]
    assert names(toml.with_changes("b", {"provider": "modal"}).boxes["b"]) == [
        "modal L4",
        "modal T4",
    ]
    image = toml.with_changes("b", {"image": "cpu"}).boxes["b"]
    assert {each.spec.image for each in candidates(image, OFFERS)} == {"cpu"}


def sensitive(toml: str, root: Path) -> Iterator[str]:
    import tomllib

    return map(trust.line, trust.sensitive(tomllib.loads(toml), root, {}))


def test_what_needs_trust_needs_it_in_the_table_of_one_provider_too(home: Path) -> None:
    toml = """
[boxes.b]
providers = ["modal", "local"]
setup = ["make"]
on.local.image = "/elsewhere/Dockerfile"
on.local.volumes.x = { source = "/etc", mount = "x" }
"""
    assert sorted(sensitive(toml, home)) == [
        "boxes.b.on.local.image",
        "boxes.b.on.local.volumes.x",
        "boxes.b.setup",
    ]

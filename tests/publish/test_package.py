"""What is judged before a package is laid out, and what is in it then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch
from click import Option

from devbox import spec
from devbox.cli.publish import publish_command
from devbox.errors import CheckFailed, Conflict, NotFound, SpecError
from devbox.publish import checks, package, read, variants, weights
from devbox.spec import Publish, Variant
from tests.command_line import Devbox, devbox, project
from tests.publish.files import CARD, Tiny, save, training, write_project

__all__ = ["devbox", "project"]


def make(root: Path, checkpoint: Path, **more: Any) -> package.Report:
    config = spec.load(root / "devbox.toml")
    chosen = variants.choose(config.publish, more.pop("variant", "tiny"), more.pop("profile", ""))
    output = more.pop("output", root / "hf_upload")
    request = package.Request(checkpoint, chosen, config.publish, root, output, **more)
    report: package.Report = {}
    try:
        package.make(request, report, lambda _: None)
    except CheckFailed:
        assert report["ok"] is False
        assert not output.exists()
        raise
    return report


@pytest.fixture
def root(home: Path) -> Path:
    return write_project(home / "project")


@pytest.fixture
def checkpoint(home: Path) -> Path:
    return save(home / "best.pth", training(Tiny()))


def test_a_package_holds_the_weights_and_what_they_need_and_nothing_else(
    root: Path, checkpoint: Path
) -> None:
    report = make(root, checkpoint, version="1.0.0")
    folder = root / "hf_upload"
    assert sorted(package.files_of(folder)) == [
        *("LICENSE", "README.md", "VERSION", "config.yaml", "model.safetensors"),
        *("pytorch_model.bin", "requirements.txt", "src/__init__.py", "src/model/__init__.py"),
        *("src/model/net.py", "src/physics/__init__.py", "src/physics/gravity.py"),
        "src/physics/units.py",
    ]
    assert (folder / "VERSION").read_text() == "1.0.0\n"
    assert (folder / "README.md").read_text() == CARD
    kept = torch.load(folder / "pytorch_model.bin", weights_only=True)
    assert set(kept) == set(safetensors.torch.load_file(folder / "model.safetensors"))
    model = Tiny()
    model.load_state_dict(kept)
    trained = torch.load(checkpoint)["model_state_dict"]["scale"]
    assert torch.equal(model.scale, trained)
    assert (folder / "pytorch_model.bin").stat().st_size < checkpoint.stat().st_size
    assert report["weights"]["parameters"] == 20
    assert report["weights"]["left"] == {"optimizer_state_dict": 43}
    assert {check["state"] for check in report["checks"]} == {"passed"}
    assert (report["variant"], report["profile"]) == ("tiny", "devbox.toml")
    told = json.loads((folder / package.REPORT).read_text())
    assert told["files"] == report["files"]


def test_a_folder_is_clean_each_run_and_the_same_input_gives_the_same_bytes(
    root: Path, checkpoint: Path
) -> None:
    first = make(root, checkpoint)
    (root / "hf_upload" / "stale.txt").write_text("x")
    (root / "requirements.txt").write_text("torch>=2\n")
    second = make(root, checkpoint)
    assert not (root / "hf_upload" / "stale.txt").exists()
    changed = [a["path"] for a, b in zip(first["files"], second["files"], strict=True) if a != b]
    assert changed == ["requirements.txt"]
    assert [path.name for path in root.iterdir() if "part" in path.name] == []


def test_a_folder_of_the_users_is_never_replaced(root: Path, checkpoint: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine" / "thesis.txt").write_text("x")
    for output in (root / "mine", root, root.parent, checkpoint.parent):
        with pytest.raises(Conflict):
            make(root, checkpoint, output=output)
    assert (root / "mine" / "thesis.txt").exists()
    (root / "link").symlink_to(root / "mine")
    with pytest.raises(Conflict):
        make(root, checkpoint, output=root / "link")
    inside = save(root / "hf_upload" / "pytorch_model.bin", Tiny().state_dict())
    with pytest.raises(Conflict, match="holds the checkpoint"):
        make(root, inside)
    assert inside.exists()


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("cards/tiny.md", None, "there is no card"),
        ("cards/tiny.md", CARD.replace("## Citation", "### Citation"), "lacks: ## Citation"),
        ("cards/tiny.md", CARD.replace("## Citation", "```\n## Citation\n```"), "lacks: ## Cit"),
        ("cards/tiny.md", CARD + "Score: TBD\n", "still says TBD 1 times, at line 12"),
        ("cards/tiny.md", CARD.replace("# m", "value: TBD"), "still says TBD"),
        ("configs/tiny.yaml", None, "there is no config"),
        ("configs/tiny.yaml", "model: {d_model: 8}", "model.d_model is 8, not 4"),
        ("configs/tiny.yaml", "model: {d_model: true}", "model.d_model is True, not 4"),
        ("configs/tiny.yaml", "model: [1]", "model.d_model is None, not 4"),
        ("configs/tiny.yaml", "a: &a [*a, x\n", "is no YAML"),
        ("configs/tiny.yaml", "!!python/object/apply:os.system ['touch x']", "is no YAML"),
        (
            "configs/tiny.yaml",
            "metadata: {variant: large}\nmodel: {d_model: 4}",
            "metadata.variant is 'large'",
        ),
        ("LICENSE", None, "missing in"),
        ("requirements.txt", None, "missing in"),
    ],
)
def test_each_failed_check_stops_it_and_is_said(
    root: Path, checkpoint: Path, file: str, text: str | None, said: str
) -> None:
    (root / file).unlink()
    if text is not None:
        (root / file).write_text(text)
    with pytest.raises(CheckFailed) as caught:
        make(root, checkpoint)
    assert said in caught.value.what
    report = make(root, checkpoint, skip=True)
    assert report["ok"]
    assert "skipped" in {check["state"] for check in report["checks"]}


def test_skipping_validation_never_lets_an_unsafe_file_pass(root: Path, home: Path) -> None:
    bad = save(home / "bad.pth", {"w": torch.zeros(0)})
    with pytest.raises(CheckFailed, match="holds no parameters"):
        make(root, bad, skip=True)
    with pytest.raises(CheckFailed, match="no such file"):
        make(root, home / "missing.pth", skip=True)
    with pytest.raises(CheckFailed, match="it is no file"):
        make(root, home, skip=True)


@pytest.mark.parametrize(
    ("profile", "name", "low", "high"),
    [
        ("guide", "small", 5_320_000, 5_880_000),
        ("guide", "medium", 15_010_000, 16_590_000),
        ("guide", "base", 15_010_000, 16_590_000),
        ("guide", "large", 26_600_000, 29_400_000),
        ("code", "small", 6_886_449, 7_611_339),
        ("code", "medium", 19_565_864, 21_625_428),
        ("code", "large", 42_388_664, 46_850_628),
    ],
)
def test_both_edges_of_the_window_pass(
    home: Path, profile: str, name: str, low: int, high: int
) -> None:
    chosen = variants.choose(Publish(), name, profile)
    assert chosen.window(0.05) == (low, high)
    with read.opened(save(home / "x.pth", {"w": torch.zeros(1)})) as checkpoint:
        found = weights.find(checkpoint)
        for count, state in (
            (low, "passed"),
            (high, "passed"),
            (low - 1, "failed"),
            (high + 1, "failed"),
        ):
            (check,) = checks.of_weights(found._replace(parameters=count), checkpoint, chosen, 0.05)
            assert check.state == state
            assert f"profile {profile}" in check.message


def test_the_counts_of_the_code_pass_its_own_profile_and_fail_the_guides() -> None:
    for name, real in {"small": 7_259_770, "medium": 20_611_930, "large": 44_641_338}.items():
        low, high = variants.choose(Publish(), name).window(0.05)
        assert low <= real <= high
        low, high = variants.choose(Publish(), name, "guide").window(0.05)
        assert not low <= real <= high


def test_variants_of_a_project_replace_the_shipped_ones() -> None:
    table = msgspec.convert({"variants": {"nano": {"parameters": 10}}}, Publish)
    assert variants.choose(table, "nano").profile == "devbox.toml"
    with pytest.raises(NotFound, match="variants: nano"):
        variants.choose(table, "small")
    assert variants.choose(table, "small", "guide").variant.parameters == 5_600_000


def test_adapters_alone_become_a_package_of_their_own(root: Path, home: Path) -> None:
    adapters = {"a.lora_A": torch.zeros(2, 6), "a.lora_B": torch.ones(5, 2)}
    path = save(
        home / "lora.pth", {"lora_state_dict": adapters, "lora_config": {"alpha": 16, "rank": 2}}
    )
    report = make(root, path)
    folder = root / "hf_upload"
    names = set(package.files_of(folder))
    assert {"adapter_model.bin", "adapter_model.safetensors", "adapter.json"} <= names
    assert not {"pytorch_model.bin", "model.safetensors"} & names
    told = json.loads((folder / "adapter.json").read_text())
    assert (told["rank"], told["pairs"], told["alpha"]) == (2, 1, 16)
    assert report["checks"][0]["name"] == "adapters"
    broken = save(
        home / "lora.pth", {"lora_state_dict": {**adapters, "b.lora_A": torch.zeros(3, 6)}}
    )
    with pytest.raises(CheckFailed, match="b has lora_A alone"):
        make(root, broken, output=root / "other")


def test_a_report_is_plain_text_whatever_the_file_names(root: Path, home: Path) -> None:
    model = {**Tiny().state_dict(), "\ud800 odd": 1}
    path = save(
        home / "x.pth",
        {"model": model, "\x1b[2Jlora_state_dict": {"x": torch.zeros(2)}, "lora_config": {"n": 1}},
    )
    told = json.dumps(make(root, path), ensure_ascii=False).encode()
    assert b"odd" in told
    assert b"\x1b" not in told
    adapters = {"a.lora_A": torch.zeros(2, 6), "a.lora_B": torch.ones(5, 2)}
    odd = {"n": 10**5000, "\ud800": 1, "deep": [[1]], "alpha": 8, "inf": float("inf")}
    save(path, {"lora_state_dict": adapters, "lora_config": odd})
    assert make(root, path)["weights"]["lora_config"] == {"alpha": 8}


def test_a_licence_that_differs_is_named_and_does_not_stop_it(root: Path, checkpoint: Path) -> None:
    (root / "LICENSE").write_text("Prosocial Public License – PPL-3%\nVersion 1.0\n")
    report = make(root, checkpoint)
    (warned,) = [check for check in report["checks"] if check["state"] == "warning"]
    assert "says apache-2.0, and LICENSE is other (Prosocial Public License)" in warned["message"]


def test_paths_of_the_table_stay_in_the_project(home: Path) -> None:
    for table in (
        'files = ["../x"]',
        'source = ["/etc"]',
        'card = "a/../../x"',
        'variants.x = { parameters = 1, config = "../c" }',
    ):
        (home / "devbox.toml").write_text(f"[publish]\n{table}\n")
        with pytest.raises(SpecError, match="publish"):
            spec.load(home / "devbox.toml")


def test_links_and_hidden_files_are_not_copied(root: Path, checkpoint: Path) -> None:
    (root / "src/model/key.txt").symlink_to("/etc/passwd")
    (root / "src/model/.env").write_text("TOKEN=1")
    (root / "src/model/linked").symlink_to(root / "secrets")
    (root / "src/model/net.py").write_text("from secrets.key import KEY\nimport broken(\n")
    make(root, checkpoint)
    names = set(package.files_of(root / "hf_upload"))
    assert {n for n in names if "key" in n or ".env" in n or "linked" in n} == set()
    assert "src/model/net.py" in names


def test_the_template_says_what_is_in_force(devbox: Devbox, project: Path) -> None:
    assert devbox("init", "publish").code == 0
    assert spec.load(project / "devbox.toml").publish == Publish()
    assert "--variant small" in (project / "PUBLISHING.md").read_text()


def test_the_page_names_every_option_and_key() -> None:
    page = (Path(__file__).parents[2] / "docs/systems/publish.md").read_text()
    options = [each for p in publish_command.params if isinstance(p, Option) for each in p.opts]
    keys = [*Publish.__struct_fields__, *Variant.__struct_fields__]
    absent = {"--quiet", "-q", "--profile"}
    assert [o for o in options if o not in absent and f"`{o}" not in page and o not in page] == []
    assert [key for key in keys if f"`{key}`" not in page and f"`{key}.NAME`" not in page] == []

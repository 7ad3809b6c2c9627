"""`devbox init` names the box after its folder, so that two projects' boxes have two names."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import spec, templates


@pytest.mark.parametrize(
    ("folder", "box"), [("tracker", "tracker"), ("My Project", "my-project"), ("2d", "p-2d")]
)
def test_a_box_is_named_after_its_folder(home: Path, folder: str, box: str) -> None:
    (home / folder).mkdir()
    templates.write(templates.get("basic"), home / folder)
    text = (home / folder / "devbox.toml").read_text()
    assert list(spec.load(home / folder / "devbox.toml").boxes) == [box]
    assert f"`devbox up {box}`" in text
    assert "boxes.dev" not in text

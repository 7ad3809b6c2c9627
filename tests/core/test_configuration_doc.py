"""docs/configuration.md names every key that devbox.toml may have."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from devbox.spec import tables

DOC = Path(__file__).parents[2] / "docs" / "configuration.md"
_OURS = {"root", "origins", "file", "withheld"}  # of Spec, and no keys of the file


@pytest.mark.parametrize(
    "kind",
    [
        *(tables.BoxSpec, tables.Idle, tables.Sync, tables.Volume, tables.ProviderConfig),
        *(tables.Checkpoint, tables.Budget, tables.Spec),
    ],
)
def test_every_key_is_named(kind: type[msgspec.Struct]) -> None:
    named = set(re.findall(r"`\[?([a-z_][\w.]*)", DOC.read_text(encoding="utf-8")))
    headed = set(re.findall(r"^##+ `\[([\w.]+)\]`$", DOC.read_text(encoding="utf-8"), re.MULTILINE))
    parts = {part for name in named | headed for part in name.split(".")}
    assert set(kind.__struct_fields__) - _OURS - parts == set()


def test_a_default_is_the_one_in_force() -> None:
    text = DOC.read_text(encoding="utf-8")
    idle, sync = tables.Idle(), tables.Sync()
    assert f'| `net_bytes` | `"{idle.net_bytes // 1024**2}MB"` |' in text
    assert f'| `after` | `"{idle.after / 60:.0f}m"` |' in text
    assert f"| `ignore_files` | `{str(sync.ignore_files).lower()}` |" in text

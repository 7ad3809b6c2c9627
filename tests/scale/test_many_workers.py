"""docs/scale.md says of many workers what the simulation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scale import many_workers

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@pytest.mark.slow
@pytest.mark.parametrize("world", many_workers.WORLDS)
def test_each_row_of_the_table_is_simulated(world: str) -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [row for row in page if row.startswith(f"| {world} |")] == many_workers.lines(world)


def test_the_batch_of_the_table_is_as_the_page_says() -> None:
    videos = many_workers.videos()
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    hours = sum(video.seconds for video in videos) / 3600
    size = sum(video.bytes for video in videos) / 1e9
    assert f"{len(videos):,} videos" in text
    assert f"{hours:.0f} hours and {size:.0f} GB in all" in text

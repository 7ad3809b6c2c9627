"""What an engine or an image sends is read as far as it is of a sane size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devbox.errors import ProviderError
from devbox.providers.docker import image


def test_an_endless_passwd_is_not_read_to_its_end() -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield bytes(1000)

    with pytest.raises(ProviderError, match="passwd is over 10"):
        image._at_most(endless(), 10 * 1024)
    assert len(sent) == 11  # blocks of 1000 bytes
    assert image._at_most([b"a", b"b"], 2) == b"ab"

"""A Space's repository and what it runs, for deploying to it: one that is a box of ours, or any
other that the user may write to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from devbox.errors import ProviderError
from devbox.providers.hf import errors, stages, tags, upload
from devbox.providers.hf.hub import Hub, repo_id
from devbox.providers.hf.stages import Runtime
from devbox.spec import HfSettings, ProviderSettings
from devbox.text import clean, size

_MOST = 64 * 1024**2  # bytes of a file that is downloaded


class Known(NamedTuple):
    """A file of the repository. blob: git's id of its content, of a pointer when it is `large`."""

    size: int
    blob: str
    large: bool


def content(hub: Hub, space: str, path: str) -> bytes:
    """A file of a Space's main branch, at most 64 MiB."""
    from huggingface_hub import hf_raise_for_status

    doing = f"reading {clean(path, 80)} of {space}"
    url = f"{hub.endpoint}/spaces/{space}/resolve/main/{quote(path)}"
    with (
        errors.translated(doing),
        hub.session().stream("GET", url, headers=hub.headers(), follow_redirects=True) as reply,
    ):
        if reply.status_code >= 400:
            reply.read()
        hf_raise_for_status(reply)
        data = b""
        for block in reply.iter_bytes():
            data += block
            if len(data) > _MOST:
                raise ProviderError(f"{doing} failed: it is over {size(_MOST)}")
    return data


class SpaceRepository:
    """space: "namespace/name"; ProviderError for another form."""

    def __init__(self, config: ProviderSettings, space: str) -> None:
        assert isinstance(config, HfSettings)
        self.space = repo_id(space)
        self.hub = Hub(config)
        base = (config.git_endpoint or self.hub.endpoint).rstrip("/")
        self.git_url = f"{base}/spaces/{self.space}"

    @property
    def page(self) -> str:
        """Where a user looks at it."""
        return f"{self.hub.endpoint}/spaces/{self.space}"

    def runtime(self) -> Runtime:
        """What it runs now. Gone when there is no such Space, or the token does not see it."""
        said = self.hub.get(f"looking at {self.space}", f"/api/spaces/{self.space}/runtime")
        return stages.runtime(said)

    def is_box(self) -> bool:
        """Whether devbox made it for a box; one that was adopted is the user's own."""
        said = self.hub.get(
            f"reading the variables of {self.space}", f"/api/spaces/{self.space}/variables"
        )
        tag = tags.of_variables(said, self.space)
        return tag is not None and not tag.adopted

    def listing(self) -> dict[str, Known]:
        """Path → file, on its main branch."""
        rows = self.hub.pages(
            f"listing the files of {self.space}",
            f"/api/spaces/{self.space}/tree/main",
            {"recursive": "true"},
        )
        found = {}
        for row in rows:
            if isinstance(row, dict) and row.get("type") == "file":
                length = row.get("size")
                found[str(row.get("path"))] = Known(
                    length if isinstance(length, int) else 0,
                    str(row.get("oid")),
                    isinstance(row.get("lfs"), dict),
                )
        return found

    def content(self, path: str) -> bytes:
        """A file of its main branch, at most 64 MiB."""
        return content(self.hub, self.space, path)

    def changes(self, files: dict[str, upload.Content]) -> tuple[list[str], list[str]]:
        """(paths that it lacks or has otherwise, paths that only it has)."""
        return upload.changes(self.hub, self.space, files)

    def push(self, files: dict[str, upload.Content], *, prune: bool) -> bool:
        """Commit what differs, all at once; False when nothing does. prune: remove what only the
        repository has."""
        return upload.push(self.hub, self.space, files, prune=prune)

    def build_logs(self, *, follow: bool) -> Iterator[str]:
        """Lines of the image build, oldest first, untrusted text made harmless."""
        doing = f"reading the build log of {self.space}"
        with errors.translated(doing):
            yield from self.hub.call(
                doing,
                lambda api: (
                    clean(part, 2000)
                    for line in api.fetch_space_logs(self.space, build=True, follow=follow)
                    for part in line.rstrip("\r\n").split("\r")
                ),
            )

"""A model's or dataset's repository on the Hub: made when missing, one commit of what differs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from devbox.errors import Conflict, UsageError
from devbox.providers.hf import errors, upload
from devbox.providers.hf.hub import Hub
from devbox.spec import ProviderSettings
from devbox.spec.provider_settings import HfSettings
from devbox.text import clean, counted

SETTINGS = "hf-space"  # a provider whose settings, [providers.hf], say where the Hub is

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(f"(?:{_NAME}/)?{_NAME}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


class ModelRepository:
    """repo: "namespace/name", or a name below the token's account. token: a reference, '' for the
    Hub's own login."""

    def __init__(
        self,
        config: ProviderSettings,
        repo: str,
        *,
        kind: Literal["model", "dataset"] = "model",
        token: str = "",
    ) -> None:
        assert isinstance(config, HfSettings)
        if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
            raise UsageError(f"{clean(repo, 60)!r} is no repository", fix='write it as "me/name"')
        self.hub = Hub(config, reference=token)
        self.kind = kind
        self.repo = repo if "/" in repo else f"{self.hub.namespace()}/{repo}"

    @property
    def page(self) -> str:
        """Where a user looks at it."""
        below = "datasets/" if self.kind == "dataset" else ""
        return f"{self.hub.endpoint}/{below}{self.repo}"

    def ensure(self, *, private: bool) -> None:
        """Make it when it is missing. Conflict when it is there, public, and should be private."""
        self.hub.call(
            f"creating {self.repo}",
            lambda api: api.create_repo(
                self.repo, private=private, repo_type=self.kind, exist_ok=True
            ),
        )
        if not private:
            return
        found = self.hub.call(
            f"looking at {self.repo}", lambda api: api.repo_info(self.repo, repo_type=self.kind)
        )
        if not found.private:
            raise Conflict(
                f"{self.repo} exists and everybody can read it",
                means="nothing was uploaded",
                fix=f"make it private at {self.page}/settings, or leave out --private",
            )

    def head(self) -> str:
        """The commit of its main branch."""
        found = self.hub.call(
            f"looking at {self.repo}", lambda api: api.repo_info(self.repo, repo_type=self.kind)
        )
        return str(found.sha)

    def changes(self, files: Mapping[str, Path]) -> tuple[list[str], list[str]]:
        """(paths that it lacks or has otherwise, paths that only it has)."""
        return upload.changes(self.hub, self.repo, dict(files), self.kind)

    def commit(self, files: Mapping[str, Path], message: str) -> None:
        """Put these files there, all at once. Large ones that an earlier try has sent are not sent
        again."""
        from huggingface_hub import CommitOperationAdd

        doing = f"uploading {counted(len(files), 'file')} to {self.repo}"
        with errors.translated(doing):
            try:
                self.hub.call(
                    doing,
                    lambda api: api.create_commit(
                        self.repo,
                        [CommitOperationAdd(path, file) for path, file in files.items()],
                        commit_message=message,
                        repo_type=self.kind,
                    ),
                )
            except RuntimeError as error:
                # How the library tells of a large file that did not arrive; its cause says why.
                raise error.__cause__ or error from None

    def tagged(self, tag: str) -> str:
        """The commit a tag is at; '' when there is none."""
        refs = self.hub.call(
            f"listing the tags of {self.repo}",
            lambda api: api.list_repo_refs(self.repo, repo_type=self.kind),
        )
        return next((str(each.target_commit) for each in refs.tags if each.name == tag), "")

    def tag(self, tag: str, commit: str) -> None:
        self.hub.call(
            f"tagging {self.repo}",
            lambda api: api.create_tag(
                self.repo, tag=tag, revision=commit, repo_type=self.kind, exist_ok=True
            ),
        )


def check_tag(version: str) -> str:
    """The version itself when it can be a git tag. UsageError otherwise."""
    if not _TAG.fullmatch(version) or ".." in version or version.endswith((".", ".lock")):
        raise UsageError(
            f"{clean(version, 60)!r} cannot be a version: it becomes a git tag",
            fix="write it as 1.0.0",
        )
    return version

"""The images that were made here: listed, and the old ones removed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from devbox.images import plan

if TYPE_CHECKING:
    from docker import APIClient

#: what engines before API 1.43 write where the tag was taken by a newer build
_NO_TAG = "<none>:<none>"


class Kept(NamedTuple):
    """An image of the engine. references: its tags. image, project: what it was made from. size:
    bytes, shared layers counted in full. created: ISO time. in_use: a container was made of it."""

    id: str
    references: tuple[str, ...]
    image: str
    project: str
    size: int
    created: str
    in_use: bool


def made(api: APIClient, project: str | None = None) -> list[Kept]:
    """Images made here, the newest first; with a project, only that one's."""
    label = f"{plan.PROJECT}={project}" if project is not None else plan.LABEL
    used = {each["ImageID"] for each in api.containers(all=True)}
    found = [
        Kept(
            str(row["Id"]),
            tuple(sorted(set(row.get("RepoTags") or ()) - {_NO_TAG})),
            str(row["Labels"].get(plan.LABEL, "")),
            str(row["Labels"].get(plan.PROJECT, "")),
            int(row["Size"]),
            str(api.inspect_image(row["Id"])["Created"]),
            row["Id"] in used,
        )
        for row in api.images(filters={"label": label})
    ]
    return sorted(found, key=lambda each: each.created, reverse=True)


def prune(api: APIClient, *, project: str | None = None, keep: int = 1) -> list[Kept]:
    """Remove all but the newest `keep` of each image of each project; those that a container was
    made of stay. Returns what was removed."""
    counted: dict[tuple[str, str], int] = {}
    removed = []
    for each in made(api, project):
        key = each.project, each.image
        counted[key] = counted.get(key, 0) + 1
        if counted[key] <= keep or each.in_use:
            continue
        gone = [_remove(api, reference) for reference in each.references or (each.id,)]
        if all(gone):
            removed.append(each)
    return removed


def _remove(api: APIClient, reference: str) -> bool:
    """Whether it is gone. Not when another image, or a container made just now, needs it."""
    from docker.errors import APIError, ImageNotFound

    try:
        api.remove_image(reference)
    except ImageNotFound:
        return True
    except APIError as error:
        if error.response is None or error.response.status_code != HTTPStatus.CONFLICT:
            raise
        return False
    return True

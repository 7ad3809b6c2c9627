"""Pushing a plan: by git to the Space's main branch, or as one commit through the API."""

from __future__ import annotations

from collections.abc import Sized
from typing import NamedTuple

from devbox.deploy import plan as plans
from devbox.deploy.plan import Plan
from devbox.deploy.repo import REMOTE
from devbox.deploy.target import Target
from devbox.errors import Conflict, UsageError
from devbox.text import clean, size
from devbox.workspace import Workspace

_SHOWN = 10


class Allowed(NamedTuple):
    """What the user has said yes to. force: commits that only the Space has are dropped.
    dirty: changes without a commit stay behind. prune: by the API, files that only the Space has
    are removed."""

    force: bool = False
    dirty: bool = False
    prune: bool = False


def push(ws: Workspace, target: Target, plan: Plan, allowed: Allowed) -> bool:
    """Bring the Space to what the plan says; False when it has all of it. Conflict and UsageError
    for what was not allowed: then nothing was pushed."""
    for sentence in plan.ignored_imports:
        ws.narrate(f"warning: {sentence}")
    if plan.via == "git":
        _check(plan, allowed)
        return _git(ws, target, plan)
    prune = allowed.prune or plan.prunes
    if plan.files:
        ws.narrate(f"uploading {many(plan.files, 'file')} ({size(plan.size)}) to {plan.space}")
    if plan.stale and prune:
        ws.narrate(f"removing {many(plan.stale, 'file')} that only {plan.space} has")
    return target.repository.push(plans.files(ws, target), prune=prune)


def _git(ws: Workspace, target: Target, plan: Plan) -> bool:
    repo = plans.repo_of(ws)
    if not plan.known_remote:
        repo.add_remote(plan.url)
        ws.narrate(f"added the git remote {REMOTE}: {plan.url}")
    if plan.upstream and plan.upstream[1]:
        name, count = plan.upstream
        ours = many(range(count), "commit")
        ws.narrate(f"{name} lacks {ours} of yours: push there too, it is the source")
    if plan.is_empty:
        return False
    ours = many(range(plan.ahead), "commit")
    ws.narrate(f"pushing {ours} ({size(plan.size)}) to {plan.space}")
    repo.push(plan.url, plans.token(target), plan.head, plan.base)
    return True


def _check(plan: Plan, allowed: Allowed) -> None:
    if plan.known_remote and plan.known_remote != plan.url:
        raise Conflict(
            f"the git remote {REMOTE} leads to {clean(plan.known_remote, 120)}, "
            f"not to {clean(plan.url, 120)}",
            means="nothing was pushed",
            fix=f"git remote set-url {REMOTE} {clean(plan.url, 120)}, or name the other Space: "
            "devbox deploy --space me/name",
        )
    if plan.secrets:
        raise UsageError(
            f"these files, in your commits, look like secrets: {listed(plan.secrets)}",
            means="nothing was pushed; whoever can read the Space's repository could read them",
            fix="take them out of the history (git rebase -i, git filter-repo) and change those "
            "secrets; give them in the secrets table of the box",
        )
    if plan.dirty and not allowed.dirty:
        raise Conflict(
            f"changes that no commit has, in {many(plan.dirty, 'file')}: {listed(plan.dirty)}",
            means="nothing was pushed; a push sends commits, so these would be missing",
            fix="git commit them, or leave them behind: devbox deploy --allow-dirty",
        )
    if plan.theirs and not allowed.force:
        raise Conflict(
            f"the Space has {many(plan.theirs, 'commit')} that you have not: {listed(plan.theirs)}",
            means="nothing was pushed; a push would drop them",
            fix=f"git pull --rebase {REMOTE} main (a first time: --allow-unrelated-histories), "
            "or drop them: devbox deploy --force, or leave them be: devbox deploy --via api",
        )
    if plan.lacks:
        raise Conflict(
            f"your commits are no Space: they lack {plan.lacks}",
            means="nothing was pushed; the Hub could not build it",
            fix="devbox image render --target space --write . && git add -A && git commit; "
            "or let the API keep what the Space has: devbox deploy --via api",
        )
    too_large = [f"{each.path} ({size(each.size)})" for each in plan.lfs if each.must]
    if too_large:
        raise Conflict(
            f"the Hub takes these through Git LFS only: {listed(tuple(too_large))}",
            means="nothing was pushed; a push sends the history, files removed since as well",
            fix="git lfs migrate import --above=10MB, or: devbox deploy --via api",
        )


def many(things: Sized, noun: str) -> str:
    """ "1 file", "2 files"."""
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def listed(items: tuple[str, ...]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more

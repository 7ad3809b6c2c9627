"""Routes of any repository: create, delete, move, describe, list, upload, download."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pathspec
from aiohttp import web

from tests.emulators.common import FaultKind
from tests.emulators.hf.http import Context, HubError, Route
from tests.emulators.hf.repos import LARGE, Repo, apply, front_matter, is_binary

COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
SDKS = {"gradio", "streamlit", "docker", "static"}
KIND = "{kind:(?:space|model|dataset)}s"
REPO = f"/api/{KIND}/{{namespace}}/{{name}}"


async def create_repo(call: Context) -> web.StreamResponse:
    body = await call.json()
    kind = body.get("type", "model")
    repo_id = f"{body.get('organization') or call.hub.account.name}/{body['name']}"
    namespace = repo_id.split("/", maxsplit=1)[0]
    allowed = call.token is not None and call.token.may_write(repo_id)
    if not allowed or not call.hub.account.owns(namespace):
        raise HubError(403, f"You don't have the rights to create a {kind} under {namespace}")
    url = call.hub.repo_url(kind, repo_id)
    if (kind, repo_id) in call.hub.repos:
        raise HubError(409, f"You already created this {kind} repo: {repo_id}", url=url)
    private = body.get("visibility", "public") == "private"
    if kind == "space":
        call.hub.create_space(repo_id, private, body)
    else:
        call.hub.create_repo(kind, repo_id, private)
    return web.json_response({"url": url, "name": repo_id})


async def delete_repo(call: Context) -> web.StreamResponse:
    body = await call.json()
    kind = body.get("type", "model")
    repo_id = f"{body.get('organization') or call.hub.account.name}/{body['name']}"
    call.hub.find_repo(kind, repo_id)
    call.check_write(repo_id)
    if call.hub.knobs.take("delete_repo", FaultKind.STOP_IGNORED) is None:
        call.hub.delete_repo(kind, repo_id)
    return web.Response(text="OK")


async def move_repo(call: Context) -> web.StreamResponse:
    body = await call.json()
    kind, source, target = body.get("type", "model"), body["fromRepo"], body["toRepo"]
    call.hub.find_repo(kind, source)
    call.check_write(source)
    call.check_write(target)
    if (kind, target) in call.hub.repos:
        raise HubError(409, f"{target} already exists")
    call.hub.move_repo(kind, source, target)
    return web.Response(text="OK")


async def update_settings(call: Context) -> web.StreamResponse:
    repo = _repo(call, write=True)
    body = await call.json()
    if "visibility" in body:
        repo.private = body["visibility"] == "private"
    return web.json_response({"private": repo.private})


async def repo_info(call: Context) -> web.StreamResponse:
    repo = _repo(call)
    return web.json_response(
        call.hub.describe(
            repo,
            revision=call.request.match_info.get("revision", "main"),
            blobs="blobs" in call.request.query,
            expand=call.request.query.getall("expand", []),
        )
    )


async def list_tree(call: Context) -> web.StreamResponse:
    repo = _repo(call)
    commit = repo.at(call.path("revision"))
    recursive = call.request.query.get("recursive", "").lower() == "true"
    under = call.request.match_info.get("path", "").strip("/")
    return web.json_response(repo.tree(commit, under, recursive=recursive))


async def paths_info(call: Context) -> web.StreamResponse:
    repo = _repo(call)
    commit = repo.at(call.path("revision"))
    wanted = (await call.request.post()).getall("paths", [])
    every = {entry["path"]: entry for entry in repo.tree(commit, "", recursive=True)}
    return web.json_response([every[str(path)] for path in wanted if str(path) in every])


async def validate_yaml(call: Context) -> web.StreamResponse:
    body = await call.json()
    errors: list[dict[str, str]] = []
    warnings: list[dict[str, str]] = []
    try:
        card = front_matter(body["content"])
    except ValueError as error:
        return web.json_response({"errors": [{"message": str(error)}], "warnings": []}, status=400)
    if not card:
        warnings.append({"message": "empty or missing yaml metadata in repo card"})
    elif body.get("repoType") == "space":
        if card.get("sdk") not in SDKS:
            errors.append({"message": f'"sdk" must be one of {sorted(SDKS)}'})
        for key in ("colorFrom", "colorTo"):
            if key in card and card[key] not in COLORS:
                errors.append({"message": f'"{key}" must be one of {sorted(COLORS)}'})
        if len(str(card.get("short_description", ""))) > 60:
            errors.append({"message": '"short_description" must be at most 60 characters long'})
    status = 400 if errors else 200
    return web.json_response({"errors": errors, "warnings": warnings}, status=status)


async def preupload(call: Context) -> web.StreamResponse:
    repo = _repo(call, write=True)
    commit = repo.at(call.path("revision"))
    body = await call.json()
    hosted = repo.files.get(".gitignore")
    rules = body.get("gitIgnore") or (hosted.content.decode() if hosted else "")
    ignored = pathspec.GitIgnoreSpec.from_lines(rules.splitlines())
    answers: list[dict[str, Any]] = []
    for file in body["files"]:
        there = commit.files.get(file["path"])
        large = file["size"] > LARGE or is_binary(base64.b64decode(file["sample"]))
        answers.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": ignored.match_file(file["path"]),
                "oid": there.etag if there is not None and there.lfs == large else None,
            }
        )
    return web.json_response({"files": answers, "commitOid": commit.oid})


async def lfs_batch(call: Context) -> web.StreamResponse:
    path = call.path("repo")
    kind = next((k for k in ("space", "dataset") if path.startswith(f"{k}s/")), "model")
    repo_id = path if kind == "model" else path.split("/", 1)[1]
    call.hub.find_repo(kind, repo_id)
    call.check_write(repo_id)
    objects = []
    for wanted in (await call.json())["objects"]:
        entry: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in call.hub.large_files:
            href = f"{call.hub.endpoint}/_lfs/{wanted['oid']}"
            entry["actions"] = {"upload": {"href": href, "header": {}}}
        objects.append(entry)
    return web.json_response({"transfer": "basic", "objects": objects})


async def lfs_upload(call: Context) -> web.StreamResponse:
    content = await call.request.read()
    if hashlib.sha256(content).hexdigest() != call.path("oid"):
        raise HubError(400, "The content does not match its SHA-256")
    call.hub.large_files[call.path("oid")] = content
    return web.Response()


async def commit(call: Context) -> web.StreamResponse:
    repo = _repo(call, write=True)
    if call.path("revision") != "main" or "create_pr" in call.request.query:
        raise HubError(501, "The Hub emulator commits to main only")
    lines = (await call.request.read()).splitlines()
    title, files = apply(repo, lines, call.hub.large_files)
    made = repo.commit(title, call.hub.clock.now(), files)
    call.hub.pushed(repo)
    return web.json_response(
        {
            "success": True,
            "commitOid": made.oid,
            "commitUrl": f"{call.hub.repo_url(repo.kind, repo.id)}/commit/{made.oid}",
            "hookOutput": "",
        }
    )


async def list_commits(call: Context) -> web.StreamResponse:
    repo = _repo(call)
    repo.at(call.path("revision"))
    return web.json_response(
        [
            {"id": made.oid, "title": made.title, "message": "", "authors": [], "date": date}
            for made in reversed(repo.commits)
            for date in [call.hub.stamp(made.date)]
        ]
    )


async def list_refs(call: Context) -> web.StreamResponse:
    repo = _repo(call)
    tags = [
        {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
        for name, oid in repo.tags.items()
    ]
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head.oid}
    return web.json_response({"branches": [main], "converts": [], "tags": tags})


async def create_tag(call: Context) -> web.StreamResponse:
    repo = _repo(call, write=True)
    tag = (await call.json())["tag"]
    if tag in repo.tags:
        raise HubError(409, f"Tag {tag} already exists")
    repo.tags[tag] = repo.at(call.path("revision")).oid
    return web.json_response({})


async def delete_tag(call: Context) -> web.StreamResponse:
    repo = _repo(call, write=True)
    if repo.tags.pop(call.path("revision"), None) is None:
        raise HubError(404, "Tag not found", "RevisionNotFound")
    return web.json_response({})


def _check_gate(call: Context, repo: Repo) -> None:
    if repo.gated and call.hub.account.name not in repo.accepted:
        raise HubError(403, f"Access to model {repo.id} is restricted", "GatedRepo")


async def auth_check(call: Context) -> web.StreamResponse:
    _check_gate(call, _repo(call))
    return web.Response(text="OK")


async def resolve(call: Context) -> web.StreamResponse:
    kind = (call.request.match_info.get("plural") or "models/").removesuffix("s/")
    repo = call.hub.find_repo(kind, call.repo_id)
    call.check_read(repo.id)
    _check_gate(call, repo)
    commit = repo.at(call.path("revision"))
    file = commit.files.get(call.path("path"))
    if file is None:
        raise HubError(404, "Entry not found", "EntryNotFound")
    headers = {
        "ETag": f'"{file.etag}"',
        "X-Repo-Commit": commit.oid,
        "X-Linked-Etag": f'"{file.etag}"',
        "X-Linked-Size": str(len(file.content)),
        "Accept-Ranges": "bytes",
    }
    window = call.request.http_range
    part = file.content[window.start : window.stop]
    if window.start is None and window.stop is None:
        return web.Response(body=file.content, headers=headers)
    first = len(file.content) + window.start if (window.start or 0) < 0 else (window.start or 0)
    headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(file.content)}"
    return web.Response(body=part, status=206, headers=headers)


def _repo(call: Context, *, write: bool = False) -> Repo:
    repo = call.hub.find_repo(call.path("kind"), call.repo_id)
    if write:
        call.check_write(repo.id)
    else:
        call.check_read(repo.id)
    return repo


ROUTES = (
    Route("POST", "/api/repos/create", "create_repo", create_repo),
    Route("DELETE", "/api/repos/delete", "delete_repo", delete_repo),
    Route("POST", "/api/repos/move", "move_repo", move_repo),
    Route("POST", "/api/validate-yaml", "validate_yaml", validate_yaml),
    Route("PUT", f"{REPO}/settings", "update_settings", update_settings),
    Route("GET", REPO, "repo_info", repo_info),
    Route("GET", f"{REPO}/revision/{{revision}}", "repo_info", repo_info),
    Route("GET", f"{REPO}/tree/{{revision}}", "list_tree", list_tree),
    Route("GET", f"{REPO}/tree/{{revision}}/{{path:.+}}", "list_tree", list_tree),
    Route("POST", f"{REPO}/paths-info/{{revision}}", "paths_info", paths_info),
    Route("GET", f"{REPO}/commits/{{revision}}", "list_commits", list_commits),
    Route("GET", f"{REPO}/refs", "list_refs", list_refs),
    Route("GET", f"{REPO}/auth-check", "auth_check", auth_check),
    Route("POST", f"{REPO}/tag/{{revision}}", "create_tag", create_tag),
    Route("DELETE", f"{REPO}/tag/{{revision}}", "delete_tag", delete_tag),
    Route("POST", f"{REPO}/preupload/{{revision}}", "preupload", preupload),
    Route("POST", f"{REPO}/commit/{{revision}}", "commit", commit),
    Route("POST", "/{repo:.+}.git/info/lfs/objects/batch", "lfs_batch", lfs_batch),
    Route("PUT", "/_lfs/{oid}", "lfs_upload", lfs_upload, public=True),
    Route(
        "GET",
        "/{plural:(?:spaces/|datasets/)?}{namespace}/{name}/resolve/{revision}/{path:.+}",
        "resolve",
        resolve,
    ),
)

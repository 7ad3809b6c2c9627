"""Builds a plan on an engine: with BuildKit where it has it, else with its classic builder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple

from devbox.errors import BuildFailed, UsageError
from devbox.images import buildkit, buildkit_session, buildlog, context, filesync
from devbox.images.plan import Plan
from devbox.wire.codec import JsonObject

if TYPE_CHECKING:
    from docker import APIClient

#: of the Dockerfile, where a project has hardly one of its own
_NAME = ".devbox-image/Dockerfile"
_IN_MEMORY = 16 * 1024**2


class Built(NamedTuple):
    """reference: repository:hash. fresh: it was built now, and was not there already."""

    reference: str
    id: str
    fresh: bool
    seconds: float


def build(
    api: APIClient,
    plan: Plan,
    *,
    say: Callable[[str], None] = lambda _: None,
    secrets: Mapping[str, str] | None = None,
    network: str = "",
    again: bool = False,
) -> Built:
    """The image of a plan, built unless the engine has it. say: each line of the build, untrusted
    text made harmless. secrets: id → value, for `RUN --mount=type=secret,id=…`; only in memory of
    this process and of that step, never in a layer or the log. again: ignore all caches.

    BuildFailed quotes the failing step and names the log. UsageError for secrets on an engine
    without BuildKit, which would leave them in a layer.
    """
    begun = time.perf_counter()
    if not again and (known := _known(api, plan.reference)):
        return Built(plan.reference, known, False, time.perf_counter() - begun)
    modern = buildkit.available(api)
    if secrets and not modern:
        raise UsageError(
            "this Docker engine has no BuildKit, and without it a secret would stay in a layer",
            means="nothing was built",
            fix="use an engine of version 18.09 or later, or build without --secret",
        )
    log = buildlog.Log(plan.image, say, hidden=tuple((secrets or {}).values()))
    told = {"networkmode": network} if network else {}
    told |= {"nocache": "1"} if again else {}
    if modern:
        folders = filesync.folders(plan.context, plan.dockerfile, _NAME)
        key = str(plan.context.root or plan.image)
        with buildkit_session.opened(api, folders, secrets or {}, key) as opened:
            told |= {"version": "2", "remote": "client-session", "session": opened}
            buildkit.follow(_messages(api, plan, told, None), log)
    else:
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            context.archive(plan.context, plan.dockerfile, body, name=_NAME)
            body.seek(0)
            _follow_classic(_messages(api, plan, {**told, "rm": "1", "forcerm": "1"}, body), log)
    made = _known(api, plan.reference)
    if made is None:
        raise BuildFailed(f"the engine says nothing failed, and has no {plan.reference}")
    return Built(plan.reference, made, True, time.perf_counter() - begun)


def _known(api: APIClient, reference: str) -> str | None:
    from docker.errors import ImageNotFound

    try:
        return str(api.inspect_image(reference)["Id"])
    except ImageNotFound:
        return None


def _messages(
    api: APIClient, plan: Plan, options: Mapping[str, str], body: IO[bytes] | None
) -> Iterator[JsonObject]:
    """The engine's messages, one by one. The `docker` package's own `build` knows no BuildKit, so
    the request is made here, over its connection."""
    from docker import auth
    from docker.utils.json_stream import json_stream

    response = api.post(
        f"{api.base_url}/v{api.api_version}/build",
        params={
            "t": plan.reference,
            "dockerfile": _NAME,
            "buildargs": json.dumps(plan.args),
            "labels": json.dumps(plan.labels),
            **options,
        },
        data=body,
        headers={
            "Content-Type": "application/x-tar",
            "X-Registry-Config": auth.encode_header(
                auth.load_config().get_all_credentials()
            ).decode(),
        },
        stream=True,
        timeout=None,
    )
    api._raise_for_status(response)
    yield from json_stream(response.iter_content(chunk_size=None))


def _follow_classic(messages: Iterator[JsonObject], log: buildlog.Log) -> None:
    """The classic builder's messages: text with `Step 3/9 : RUN …` lines, then perhaps an error."""
    for message in messages:
        for line in str(message.get("stream") or message.get("status") or "").splitlines():
            if line.startswith("Step "):
                log.step(line)
            else:
                log.line(line)
        if "error" in message:
            raise log.failed(str(message["error"]))

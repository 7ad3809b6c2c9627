"""A service as a Modal app: a function and a web endpoint, run by Modal only while they are asked.

Parameters are those of modal 1.6: `gpu` as a string, `scaledown_window`, `max_containers`,
`@modal.concurrent`, a Volume for checkpoints, `Function.from_name` to find them again.
"""

from __future__ import annotations

import importlib
import posixpath
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from devbox.providers.abilities import Hosted, HostRequest
from devbox.providers.modal.account import Account
from devbox.providers.modal.image import BUILD, from_template, told
from devbox.providers.modal.sizes import size_of

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    import modal

WEB, FUNCTION = "web", "predict"
_VOLUME = "devbox-checkpoints"
_TIMEOUT = 30 * 60  # seconds of one call, the fetch of a checkpoint at the first one included
_CREDENTIALS = "the headers Modal-Key and Modal-Secret of a proxy auth token"
_TOKENS = "https://modal.com/settings/proxy-auth-tokens"


def deploy(account: Account, request: HostRequest, say: Callable[[str], None]) -> Hosted:
    """Deploy it under the app's name, in place of what was there."""
    client = account.client()
    import modal

    module = importlib.import_module(request.module)
    app = modal.App(request.app, tags={"devbox-service": request.app})
    options = _options(account, request)
    web = modal.asgi_app(requires_proxy_auth=not request.public)(module.web)
    app.function(name=WEB, **options)(modal.concurrent(max_inputs=request.concurrent)(web))
    app.function(name=FUNCTION, **options)(module.predict)
    where = account.environment or None

    async def deployed() -> str:
        await app.deploy.aio(name=request.app, environment_name=where, client=client)
        found = modal.Function.from_name(request.app, WEB, environment_name=where, client=client)
        return str(await found.get_web_url.aio() or "")

    with told(say):
        url = account.do(f"deploying the app {request.app}", deployed, BUILD)
    return Hosted(
        url=url,
        page=f"https://modal.com/apps/{app.app_id}",
        credentials="" if request.public else f"{_CREDENTIALS} ({_TOKENS})",
        end=f"modal app stop {request.app}" + (f" --env {where}" if where else ""),
    )


class _Options(TypedDict):
    """Of `modal.App.function`."""

    image: modal.Image
    gpu: str | None
    cpu: float
    memory: int
    region: str | None
    env: dict[str, str | None]
    secrets: list[modal.Secret]
    volumes: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]
    scaledown_window: int
    max_containers: int
    timeout: int


def _options(account: Account, request: HostRequest) -> _Options:
    import modal

    size = size_of(request.hardware, request.wanted)
    image = from_template(request.image, request.wanted.build_args)
    if request.packages:
        # By the uv and into the environment that the image's own Dockerfile made.
        index = request.wanted.build_args.get("PIP_INDEX")
        more = ["--default-index", index] if index else []
        image = image.run_commands(shlex.join(["uv", "pip", "install", *more, *request.packages]))
    environment = account.environment or None
    places = {volume.mount: volume.source for volume in request.wanted.volumes.values()}
    if not any(_is_under(request.folder, mount) for mount in places):
        places[request.folder] = _VOLUME
    volumes: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {
        mount: modal.Volume.from_name(name, create_if_missing=True, environment_name=environment)
        for mount, name in places.items()
    }
    secrets = [modal.Secret.from_dict(dict(request.secrets))] if request.secrets else []
    return {
        "image": image,
        "gpu": size.hardware if size.gpu else None,
        "cpu": size.cores,
        "memory": size.mib,
        "region": size.region or None,
        "env": dict(request.env),
        "secrets": secrets,
        "volumes": volumes,
        "scaledown_window": request.idle,
        "max_containers": request.most,
        "timeout": _TIMEOUT,
    }


def _is_under(folder: str, mount: str) -> bool:
    return posixpath.commonpath([folder, mount]) == posixpath.normpath(mount)

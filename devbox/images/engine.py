"""The Docker engine, through the `docker` package: DOCKER_HOST or [providers.docker] docker_host,
local or over ssh://."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devbox.errors import AuthError, ProviderError, ToolMissing, Unavailable
from devbox.text import clean

if TYPE_CHECKING:
    from docker import DockerClient

_TIMEOUT = 120  # seconds without an answer; builds and pushes wait longer


def connect(host: str = "", *, timeout: float = _TIMEOUT) -> DockerClient:
    """A client of the engine at `host`, by default the one DOCKER_HOST names, else this machine's.

    ToolMissing without the `docker` package, Unavailable when nothing answers.
    """
    try:
        import docker
    except ImportError as error:
        raise ToolMissing(
            "the docker package is not installed", fix="pip install 'devbox[docker]'"
        ) from error
    from docker.errors import DockerException

    try:
        if host:
            return docker.DockerClient(
                base_url=host, version="auto", timeout=timeout, use_ssh_client=True
            )
        return docker.from_env(version="auto", timeout=timeout, use_ssh_client=True)
    except DockerException as error:
        raise _no_engine(host, error) from error


def has_buildkit(client: DockerClient) -> bool:
    """Whether the engine can build with BuildKit: Linux engines since 18.09 (API 1.39), whichever
    builder they have as default. Podman speaks the same API and has another builder."""
    from docker.utils import version_gte

    with speaking("asking the engine for its builder"):
        answer = client.api.get(f"{client.api.base_url}/_ping", timeout=_TIMEOUT)
    if "Libpod-API-Version" in answer.headers or answer.headers.get("OSType") != "linux":
        return False
    return bool(version_gte(client.api.api_version, "1.39"))


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Whatever the engine refuses becomes one of our errors. what: 'pushing X', for the text."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        said = clean(str(error.explanation or error), 400)
        if error.response is not None and error.response.status_code in (401, 403):
            raise AuthError(f"{what}: {said}", fix="docker login, then again") from error
        raise ProviderError(f"{what}: {said}") from error
    except (DockerException, RequestException) as error:
        raise _no_engine("", error) from error


def _no_engine(host: str, error: Exception) -> Unavailable:
    where = f" at {clean(host, 80)}" if host else ""
    return Unavailable(
        f"no Docker engine answers{where}: {clean(str(error), 200)}",
        means="nothing was built or started",
        fix="start Docker, or set DOCKER_HOST; check with: docker info",
    )

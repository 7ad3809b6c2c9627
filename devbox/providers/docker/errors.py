"""The engine's faults as devbox errors, each with where to fix it."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devbox import installation
from devbox.errors import (
    AuthError,
    Conflict,
    DevboxError,
    Gone,
    ProviderError,
    ToolMissing,
    Unavailable,
)
from devbox.text import clean

if TYPE_CHECKING:
    from docker.errors import APIError
    from requests import Response

START = "start it (sudo systemctl start docker), or name another: [providers.docker] docker_host"
_LONGEST_WAIT = 600.0

# What an engine answers with 500 though trying again cannot help.
_LASTING = re.compile(
    r"could not select device driver|no space left on device|nvidia-container-cli"
    r"|unknown or invalid runtime|OCI runtime create failed|executable file not found"
    r"|invalid mount config|bind source path does not exist|invalid reference format",
    re.IGNORECASE,
)


class InProgress(Conflict):
    """The engine is at what was asked for already."""


@contextmanager
def translated(doing: str, address: str) -> Iterator[None]:
    """Run calls of the client; `doing` completes "… failed", as in "starting b"."""
    try:
        import requests
        import urllib3
        from docker import errors as docker
    except ImportError as error:
        raise not_installed() from error
    try:
        yield
    except DevboxError:
        raise
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(doing, address) from error
    except docker.APIError as error:
        raise _of_status(doing, error) from error
    except docker.DockerException as error:
        # The client wraps what kept it from reaching the engine.
        raise _unreachable(doing, address, error) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _unreachable(doing, address, error) from error


def not_installed() -> ToolMissing:
    return ToolMissing(
        "the docker client is not installed",
        means="nothing was started",
        fix=installation.fix_extra("docker"),
    )


def _of_status(doing: str, error: APIError) -> DevboxError:
    """The error for the engine's own answer."""
    response = error.response
    status = int(getattr(response, "status_code", 0) or 0)
    said = clean(" ".join(str(error.explanation or error).split()), 300)
    what = f"{doing} failed: {said}"
    if status == 409 and "already in progress" in said:
        return InProgress(what, fix="try again")
    plain: dict[int, DevboxError] = {
        401: AuthError(what, fix="log in to its registry with: docker login"),
        403: AuthError(what, fix="log in to its registry with: docker login"),
        404: Gone(what, fix="see: devbox ls --refresh"),
        409: Conflict(what, fix="try again"),
    }
    if status in plain:
        return plain[status]
    if (status == 429 or status >= 500) and not _LASTING.search(said):
        return Unavailable(
            what, fix="try again; see the log of the engine", retry_after=_retry_after(response)
        )
    return ProviderError(what, fix=_fix(said))


def _fix(said: str) -> str:
    if "could not select device driver" in said or "nvidia" in said:
        return (
            'install the NVIDIA container toolkit on the engine\'s machine, or set hardware = "cpu"'
        )
    if "no space left" in said:
        return "make room on the engine's machine: docker system prune"
    return "see what the engine can do: devbox doctor"


def _unreadable(doing: str, address: str) -> Unavailable:
    return Unavailable(
        f"{doing} failed: the answer cannot be read: it is not whole JSON",
        means="whether it was done is unknown; boxes there may be running",
        fix=f"see what answers at {clean(address, 100)} in the engine's place",
    )


def _unreachable(doing: str, address: str, error: BaseException) -> DevboxError:
    if isinstance(error.__cause__ or error.__context__, json.JSONDecodeError):
        # What the client asks first is the engine's version, and it wraps what it could not parse.
        return _unreadable(doing, address)
    said, codes = _causes(error)
    shown = clean(address, 100)
    if codes & {errno.EACCES, errno.EPERM}:
        return AuthError(
            f"{doing} failed: this user may not use the Docker engine at {shown}",
            means="nothing was changed",
            fix="sudo usermod -aG docker $USER, then log in again",
        )
    if errno.ENOENT in codes:
        return ProviderError(
            f"{doing} failed: there is no Docker engine at {shown}",
            means="boxes on it, if there are any, are as they were",
            fix=START,
        )
    return Unavailable(
        f"{doing} failed: the Docker engine at {shown} does not answer: {said}",
        means="whether it was done is unknown; boxes there may be running",
        fix=START,
    )


def _causes(error: BaseException) -> tuple[str, set[int]]:
    """The innermost words and every errno of a chain of exceptions, some of which the client
    keeps in `args` alone."""
    said, codes, todo, seen = "", set(), [error], 0
    while todo and seen < 50:
        each = todo.pop()
        seen += 1
        said = clean(" ".join(str(each).split()), 200) or said
        if isinstance(each, OSError) and isinstance(each.errno, int):
            codes.add(each.errno)
        inner = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        todo += [one for one in inner if isinstance(one, BaseException) and one is not each]
    return said, codes


def _retry_after(response: Response) -> float | None:
    said = str(response.headers.get("Retry-After", ""))
    return min(float(said), _LONGEST_WAIT) if said.isdecimal() else None

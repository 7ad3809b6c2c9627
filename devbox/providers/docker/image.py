"""The image of a box and who logs in to it.

`image` names a template of devbox, which is built when it changed; a Dockerfile of the project, as
"./Dockerfile"; or an image by reference, used as it is and pulled when the engine lacks it. It
must hold an sshd, and python3 of at least 3.9 for devbox's own program.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import names
from devbox.errors import Conflict, Gone, ProviderError, UsageError
from devbox.images import templates
from devbox.providers.docker.container import Login
from devbox.providers.docker.engine import Engine
from devbox.text import clean, size

if TYPE_CHECKING:
    from docker import APIClient

Say = Callable[[str], None]
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")
_NO_SHELL = ("", "/bin/false", "/usr/bin/false", "/sbin/nologin", "/usr/sbin/nologin")
_PASSWD = 256 * 1024  # bytes


def ensure(
    engine: Engine, image: str, root: str, say: Say, args: Mapping[str, str] | None = None
) -> str:
    """The id of the image, built or pulled unless the engine has it. root: the project's folder.
    say: gets the lines of the build or pull. args: of a build. BuildFailed quotes the failing
    step."""
    if templates.known(image) or image.startswith("./"):
        return _build(engine, image, root, say, args or {})
    if not _REFERENCE.fullmatch(image):
        raise UsageError(
            f"{clean(image, 60)!r} is neither a template nor an image reference",
            fix='set image = "cpu" (devbox image ls), or a reference such as "registry/name:tag"',
        )
    shown = clean(image, 120)
    try:
        found = engine.call(f"looking for {shown}", lambda api: api.inspect_image(image))
    except Gone:
        _pull(engine, image, say)
        found = engine.call(f"looking for {shown}", lambda api: api.inspect_image(image))
    return str(found["Id"])


def login(engine: Engine, image: str) -> Login:
    """Who the image's own programs run as. root where that is nobody who can have a shell."""
    found = engine.call("looking at the image", lambda api: api.inspect_image(image))
    user = str((found.get("Config") or {}).get("User") or "").partition(":")[0]
    return Login() if user in ("", "0", "root") else _in_passwd(_passwd(engine, image), user)


def _build(engine: Engine, image: str, root: str, say: Say, args: Mapping[str, str]) -> str:
    """A template comes without the project's files, which sync brings: an edit costs no build."""
    from devbox.images import build, lint_image, plan

    own = image.startswith("./")
    wanted = plan.plan(image, Path(root or "."), args=args, without=() if own else ("code",))
    leaks = [str(each) for each in lint_image.check_plan(wanted) if each.rule == "secret"]
    for warning in (*wanted.warnings, *leaks):
        say(f"warning: {warning}")
    return engine.call(f"building {wanted.image}", lambda api: build.build(api, wanted, say=say).id)


def _pull(engine: Engine, reference: str, say: Say) -> None:
    shown = clean(reference, 120)
    say(f"pulling {shown}")
    name, digest, tag = reference, "", ""
    if "@" in reference:
        name, _, digest = reference.partition("@")
    elif ":" in reference.rpartition("/")[2]:
        name, _, tag = reference.rpartition(":")

    def pull(api: APIClient) -> None:
        told = ""
        for line in api.pull(name, tag=digest or tag or "latest", stream=True, decode=True):
            if line.get("error"):
                raise ProviderError(
                    f"pulling {shown} failed: {clean(str(line['error']), 300)}",
                    means="nothing was started",
                )
            # Layers tell of themselves many times a second; a change of what happens is news.
            status = clean(str(line.get("status", "")), 200)
            if status != told and "progressDetail" not in line:
                say(status)
                told = status

    try:
        engine.call(f"pulling {shown}", pull)
    except Gone as error:
        raise ProviderError(
            f"there is no image {shown}, or it needs a login: {error.what}",
            means="nothing was started",
            fix="check image in devbox.toml; for a private one: docker login",
        ) from error


def _passwd(engine: Engine, image: str) -> str:
    """The image's /etc/passwd, out of a container that is never started."""
    name = f"devbox-look-{image.rpartition(':')[2][:24]}"

    def make(api: APIClient) -> str:
        wanted = {"Image": image, "Entrypoint": ["/devbox"], "Labels": {"devbox.look": "1"}}
        return str(api.create_container_from_config(wanted, name)["Id"])

    def read(api: APIClient) -> str:
        stream, _ = api.get_archive(name, "/etc/passwd")
        packed = _at_most(stream, _PASSWD)
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            inside = tar.extractfile("passwd")
            return inside.read(_PASSWD).decode(errors="replace") if inside else ""

    # Another devbox may look into it right now, or have been cut off: its one will do.
    with suppress(Conflict):
        engine.call("looking into the image", make)
    try:
        return engine.call("reading the image's users", read)
    except Gone:
        return ""
    finally:
        engine.call("looking into the image", lambda api: _remove(api, name))


def _at_most(stream: Iterable[bytes], most: int) -> bytes:
    """What an image sends, as far as it is of a sane size: it may be anybody's."""
    data = bytearray()
    for block in stream:
        data += block
        if len(data) > most:
            raise ProviderError(
                f"the image's /etc/passwd is over {size(most)}",
                means="nothing was started",
                fix="use another image, or one whose USER is root",
            )
    return bytes(data)


def _remove(api: APIClient, name: str) -> None:
    from docker.errors import APIError

    try:
        api.remove_container(name, force=True)
    except APIError as error:
        if error.response is None or error.response.status_code not in (404, 409):
            raise  # why: gone, or being removed by another devbox, is as good


def _in_passwd(text: str, wanted: str) -> Login:
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) != 7 or wanted not in (parts[0], parts[2]) or parts[6] in _NO_SHELL:
            continue
        try:
            home = names.remote_path(parts[5], "home")
            return Login(names.user(parts[0]), home) if home.startswith("/") else Login()
        except UsageError:
            return Login()
    return Login()

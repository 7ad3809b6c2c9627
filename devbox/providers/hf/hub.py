"""The Hub behind both providers: endpoint, credentials, bounded waiting, one way to call."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from devbox import __version__, secrets
from devbox.box.address import is_readable
from devbox.errors import ProviderError, WrongPlace
from devbox.providers import library_logs
from devbox.providers.hf import errors
from devbox.providers.hf.times import Skew
from devbox.spec import HfSettings
from devbox.text import clean
from devbox.wire.codec import Json, JsonObject

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

T = TypeVar("T")
Params = Mapping[str, str | Sequence[str]] | tuple[tuple[str, str], ...] | None
PUBLIC = "https://huggingface.co"
_CONNECT, ANSWER = 10.0, 60.0  # seconds; the library itself waits for ever
_PAGES = 100
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(f"{_NAME}/{_NAME}")


def resolve(config: HfSettings) -> HfSettings:
    """The settings with the endpoint that the Hub's own tools would use when they name none."""
    endpoint = (config.endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")
    return msgspec.structs.replace(config, endpoint=endpoint)


class Hub:
    """One endpoint with the credentials that the Hub's own tools would use (HF_TOKEN, the token
    file of `hf auth login`), or behind `reference`. Nothing of them is kept. times: reads the Hub's
    times."""

    def __init__(
        self, config: HfSettings, clock: Callable[[], float] = time.time, reference: str = ""
    ) -> None:
        self._reference = reference
        self.endpoint = resolve(config).endpoint
        self._namespace = config.namespace
        self._clock = clock
        self.times = Skew()
        self._who: dict[str, JsonObject] = {}
        self._lock = threading.Lock()

    def token(self) -> str:
        """The user's token. AuthError when there is none, or when it could be read on the way."""
        from huggingface_hub import get_token

        secrets.require_private(self.endpoint, "the Hugging Face")
        found = secrets.resolve(self._reference) if self._reference else get_token()
        if not found:
            raise errors.no_token()
        return found

    def call(self, doing: str, action: Callable[[HfApi], T]) -> T:
        """Run a call of the client library, its faults as devbox errors."""
        with errors.translated(doing):
            from huggingface_hub import HfApi

            self.session()
            api = HfApi(
                endpoint=self.endpoint,
                token=self.token(),
                library_name="devbox",
                library_version=__version__,
            )
            return action(api)

    def get(self, doing: str, path: str, params: Params = None) -> JsonObject:
        """The JSON object of a GET below the endpoint. Unavailable for anything else with a good
        status: it proves nothing."""
        with errors.translated(doing):
            said: Json = self._get(f"{self.endpoint}{path}", params).json()
        if not isinstance(said, dict):
            raise errors.unreadable(doing, "it is no JSON object")
        return said

    def public_list(self, doing: str, path: str) -> list[Json]:
        """As `get`, of a list for which no token is needed, and none is fine."""
        with errors.translated(doing):
            said: Json = self._get(f"{self.endpoint}{path}", public=True).json()
        if not isinstance(said, list):
            raise errors.unreadable(doing, "it is no JSON list")
        return said

    def pages(self, doing: str, path: str, params: Params = None) -> Iterator[Json]:
        """Rows of a listing over all its pages. No page is asked for twice: whoever called us
        tries again, and knows how to say so."""
        url: str | None = f"{self.endpoint}{path}"
        for _ in range(_PAGES):
            if url is None:
                return
            with errors.translated(doing):
                reply = self._get(url, params)
                rows: Json = reply.json()
            if not isinstance(rows, list):
                # Read as "nothing there" it would make boxes that run look gone.
                raise errors.unreadable(doing, "it is no JSON list")
            yield from rows
            following = reply.links.get("next", {}).get("url")
            # A token goes to our own endpoint only, whatever a listing says.
            safe = isinstance(following, str) and following.startswith(f"{self.endpoint}/")
            url, params = (following if safe else None), None

    def session(self) -> httpx2.Client:
        """The library's HTTP client, with an end to its waiting."""
        import httpx2
        from huggingface_hub import get_session
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        library_logs.take("huggingface_hub")
        disable_progress_bars()
        try:
            client = get_session()
        except (ValueError, ImportError) as error:  # the client reads the proxy when it is made
            raise ProviderError(
                f"the proxy of the environment cannot be used: {_without_password(str(error))}",
                means="nothing was asked",
                fix="give ALL_PROXY, HTTPS_PROXY and HTTP_PROXY as http://… or socks5://…, "
                "or unset them",
            ) from error
        client.timeout = httpx2.Timeout(ANSWER, connect=_CONNECT)
        hooks = client.event_hooks
        if errors.refuse_html not in hooks["response"]:
            client.event_hooks = {**hooks, "response": [*hooks["response"], errors.refuse_html]}
        return client

    def headers(self, *, public: bool = False) -> dict[str, str]:
        from huggingface_hub import get_token
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        if public:
            token: str | bool = (not is_readable(self.endpoint) and get_token()) or False
        else:
            token = self.token()
        return dict(
            build_hf_headers(token=token, library_name="devbox", library_version=__version__)
        )

    def who(self) -> JsonObject:
        """What the Hub says of the token (`whoami`); asked once a process, as it is rationed."""
        token = self.token()
        with self._lock:
            if token not in self._who:
                said = self.call("asking who the token belongs to", lambda api: api.whoami())
                self._who = {token: dict(said)}
            return self._who[token]

    def namespace(self) -> str:
        """The user or organization that boxes are made under."""
        if self._namespace:
            return self._namespace
        name = self.who().get("name")
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise ProviderError("the Hub did not say who the token belongs to", fix=errors.LOG_IN)
        return name

    def identity(self) -> str:
        """The namespace that is asked about, when the token may see what is in it; else the
        token's account."""
        who = self.who()
        name = clean(str(who.get("name")), 96)
        owner = self._namespace or name
        if owner in _names(who) and _sees(who, owner, owner):
            return owner
        return f"{name} (with a token that does not see {clean(owner, 96)})"

    def confirm_gone(self, handle: str) -> None:
        """After a 404: WrongPlace unless this token would see `handle` if it existed. Another
        account's token gets the same 404, and a box that is only out of sight still costs."""
        owner = handle.partition("/")[0]
        who = self.who()
        if owner in _names(who) and _sees(who, owner, handle):
            return
        raise WrongPlace(
            f"{clean(handle, 120)} cannot be seen with the token of "
            f"{clean(str(who.get('name')), 60)}",
            means="it may exist and cost; its record here was not changed",
            fix=f"log in to an account with access to {clean(owner, 60)}: "
            "devbox login hf-space --again",
        )

    def _get(self, url: str, params: Params = None, *, public: bool = False) -> httpx2.Response:
        from huggingface_hub import hf_raise_for_status

        reply = self.session().get(url, params=params, headers=self.headers(public=public))
        self.times.learn(reply.headers.get("Date", ""), self._clock())
        hf_raise_for_status(reply)
        return reply


def _without_password(said: str) -> str:
    return clean(re.sub(r"//[^/@\s]*@", "//…@", said), 200)


def repo_id(handle: str) -> str:
    """`handle` when it is a well-formed "namespace/name". ProviderError otherwise."""
    if not _REPO.fullmatch(handle) or ".." in handle or "--" in handle:
        raise ProviderError(
            f"{clean(handle, 60)!r} is not the name of a Space", fix='write it as "me/name"'
        )
    return handle


def _names(who: JsonObject) -> set[str]:
    """The account's own name and those of its organizations."""
    names = [each.get("name") for each in (who, *map(_object, _list(who.get("orgs"))))]
    return {name for name in names if isinstance(name, str)}


def _sees(who: JsonObject, owner: str, handle: str) -> bool:
    """False for a fine-grained token that is scoped to other things."""
    access = _object(_object(who.get("auth")).get("accessToken"))
    if access.get("role") != "fineGrained":
        return True
    grained = _object(access.get("fineGrained"))
    entities = [_object(_object(each).get("entity")) for each in _list(grained.get("scoped"))]
    return bool(grained.get("global")) or any(e.get("name") in (owner, handle) for e in entities)


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []

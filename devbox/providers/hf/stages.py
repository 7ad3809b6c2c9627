"""What the Hub's stages mean. Source: huggingface_hub's SpaceStage and JobStage; billing: the
public documentation ("Starting" and "Running" are billed, builds, sleep and pause are not)."""

from __future__ import annotations

from typing import NamedTuple

from devbox.model import BoxState
from devbox.text import clean

_SPACE = {
    "NO_APP_FILE": BoxState.PROVISIONING,
    "CONFIG_ERROR": BoxState.FAILED,
    "BUILDING": BoxState.BUILDING,
    "BUILD_ERROR": BoxState.FAILED,
    "RUNNING": BoxState.RUNNING,
    "RUNNING_BUILDING": BoxState.BUILDING,
    "RUNTIME_ERROR": BoxState.FAILED,
    "DELETING": BoxState.STOPPING,
    "STOPPED": BoxState.PAUSED,
    "PAUSED": BoxState.PAUSED,
    "APP_STARTING": BoxState.STARTING,
    "RUNNING_APP_STARTING": BoxState.STARTING,
}
_SPACE_FREE = frozenset(
    {"NO_APP_FILE", "CONFIG_ERROR", "BUILDING", "BUILD_ERROR", "RUNTIME_ERROR"}
    | {"DELETING", "STOPPED", "PAUSED"}
)
_STARTS = ("APP_STARTING", "RUNNING_APP_STARTING")
#: of a start without a machine: `hardware` of the library's SpaceRuntime is what it has now, if any
_UNPLACED = "no machine yet: "
#: seconds after which a Space without an app file is not on its way any more
_PATIENCE = 600.0


class Runtime(NamedTuple):
    """A Space's runtime, with nothing in it that cannot be relied on.

    stage: the Hub's word. current, requested: hardware, '' for none. sleep: seconds without a
    visit until it sleeps; None for never.
    """

    stage: str
    current: str = ""
    requested: str = ""
    sleep: int | None = None
    dev_mode: bool = False
    error: str = ""
    volumes: tuple[str, ...] = ()

    @property
    def hardware(self) -> str:
        return self.current or self.requested

    @property
    def billed(self) -> bool:
        """An unknown stage counts as one that costs."""
        return self.stage not in _SPACE_FREE

    @property
    def broken(self) -> bool:
        return _SPACE.get(self.stage) is BoxState.FAILED

    @property
    def moving(self) -> bool:
        """Other hardware was asked for than it runs on."""
        return bool(self.current and self.requested and self.current != self.requested)

    def state(self, age: float) -> BoxState:
        """age: seconds since the Space was made."""
        if self.stage == "NO_APP_FILE" and age > _PATIENCE:
            return BoxState.FAILED
        state = _SPACE.get(self.stage, BoxState.STARTING)
        return BoxState.STARTING if state is BoxState.RUNNING and self.moving else state

    def words(self) -> str:
        """The stage for a user."""
        word = "STOPPED (asleep)" if self.stage == "STOPPED" else self.stage
        if self.moving:
            return f"{word} on {self.current}, moving to {self.requested}"
        if word in _STARTS and self.requested and not self.current:
            return f"{word}, {_UNPLACED}{self.requested}"
        return word


def runtime(said: object) -> Runtime:
    """A runtime answer of the Hub, whatever it holds."""
    data = said if isinstance(said, dict) else {}
    hardware = data.get("hardware")
    hardware = hardware if isinstance(hardware, dict) else {}
    sleep = data.get("gcTimeout")
    volumes = data.get("volumes")
    return Runtime(
        stage=_word(data.get("stage")),
        current=_word(hardware.get("current")),
        requested=_word(hardware.get("requested")),
        sleep=sleep if type(sleep) is int and sleep > 0 else None,
        dev_mode=data.get("devMode") is True,
        error=clean(str(data.get("errorMessage") or ""), 300),
        volumes=tuple(
            sorted(volume_key(v) for v in (volumes if isinstance(volumes, list) else []))
        ),
    )


def guards(flavour: str) -> list[str]:
    """What the Hub does to a Space that nobody acts on. Sleep counts from the last request and a
    visit starts it over, so it is no ceiling; on free hardware it is fixed (public documentation).
    """
    after = "48 hours" if flavour == "cpu-basic" else "max_uptime"
    return [
        f"the Hub puts it to sleep {after} after the last request to its page; that is no ceiling: "
        "a visit starts that time again, or wakes it, and ssh is no request",
        "Dev Mode, and ssh with it, ends by itself after 48 hours of inactivity; edits outside "
        "volumes are lost then",
    ]


def wakes(words: str) -> str:
    """What starts a Space that shows these words, without a command; '' for nothing. Only its owner
    restarts a paused one, and any visit wakes one that sleeps (public documentation)."""
    return "it sleeps, and any visit to its page wakes it" if words.startswith("STOPPED") else ""


def waits_for_hardware(words: str) -> bool:
    """Whether a Space that shows these words starts and has no machine yet."""
    return _UNPLACED in words


def volume_key(volume: object) -> str:
    """What tells one mounted volume from another."""
    data = volume if isinstance(volume, dict) else {}
    keys = ("type", "source", "mountPath", "path", "readOnly")
    return "|".join(str(data.get(key) or "") for key in keys)


def _word(said: object) -> str:
    return clean(said, 60) if isinstance(said, str) else ""

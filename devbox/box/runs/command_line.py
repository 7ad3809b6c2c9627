"""A run's command, filled in, and the variables that name its inputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Mapping, Sequence


def fill(command: Sequence[str], args: Mapping[str, object], places: Dict[str, str]) -> List[str]:
    """A command with {name} replaced by that argument or place, where `name` is known; an item that
    is just {args} becomes `--name value` for every argument that has one. Other braces stay."""
    filled: List[str] = []
    known = {**{k: v for k, v in args.items() if v is not None}, **places}
    for item in command:
        if item == "{args}":
            filled += _options(args)
            continue
        filled.append(
            re.sub(
                r"\{([A-Za-z0-9_-]+)\}",
                lambda match: _word(known[match[1]]) if match[1] in known else match[0],
                item,
            )
        )
    return filled


def variables(inputs: Mapping[str, Path]) -> Dict[str, str]:
    """What the environment says of inputs."""
    return {
        "DEVBOX_INPUT_" + re.sub(r"[^A-Z0-9]", "_", name.upper()): str(path)
        for name, path in inputs.items()
    }


def _options(args: Mapping[str, object]) -> List[str]:
    words: List[str] = []
    for name, value in args.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            # One word, so that a value that begins with '-' stays a value.
            words.append(f"{option}={value}")
    return words


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

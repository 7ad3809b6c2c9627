"""How this devbox was installed, and the command that adds to it: every `fix:` that names a package
comes from here.

uv keeps `uv-receipt.toml` and pipx `pipx_metadata.json` at the top of the tool's environment; pip
and uv write `direct_url.json` (PEP 610) for what came from a file or folder. Seen with uv 0.13
and pipx 1.18.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "devbox-gpu"  # the registry's `devbox` is another project


def fix_extra(extra: str, prefix: Path | None = None) -> str:
    """The command that adds the packages of an extra, such as "modal"."""
    prefix = prefix or Path(sys.prefix)
    receipt = prefix / "uv-receipt.toml"
    if receipt.is_file():
        return _uv_tool(receipt, extra)
    if (prefix / "pipx_metadata.json").is_file():
        return " ".join(["pipx", "inject", DISTRIBUTION, *map(shlex.quote, requirements(extra))])
    return f"{_pip()} {_source(extra)}"


def fix_upgrade(package: str, prefix: Path | None = None) -> str:
    """The command that brings a package of ours to its newest version."""
    prefix = prefix or Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return f"uv tool upgrade {DISTRIBUTION} --upgrade-package {package}"
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx runpip {DISTRIBUTION} install --upgrade {package}"
    return f"{_pip()} --upgrade {package}"


def requirements(extra: str) -> list[str]:
    """What an extra needs, as PEP 508 has it."""
    from importlib import metadata

    marked = (text.partition(";") for text in metadata.requires(DISTRIBUTION) or [])
    wanted = (f'extra == "{extra}"', f"extra == '{extra}'")
    return [name.strip() for name, _, marker in marked if marker.strip() in wanted]


def _uv_tool(receipt: Path, extra: str) -> str:
    """uv replaces the whole tool, so what it has already is named again."""
    import tomllib

    words = ["uv", "tool", "install"]
    beside = []
    for each in tomllib.loads(receipt.read_text())["tool"]["requirements"]:
        extras = [*each.get("extras", ())]
        if each["name"] != DISTRIBUTION:
            bracket = f"[{','.join(extras)}]" if extras else ""
            beside += ["--with", shlex.quote(f"{each['name']}{bracket}{each.get('specifier', '')}")]
            continue
        place = each.get("path") or each.get("directory") or each.get("editable")
        wanted = f"{DISTRIBUTION}[{','.join(sorted({*extras, extra}))}]"
        if place:
            words += ["--editable"] if "editable" in each else []
            wanted = f"{place}[{extra}]" if "editable" in each else f"{wanted} @ {_uri(place)}"
        words.append(shlex.quote(wanted))
    return " ".join(words + beside)


def _pip() -> str:
    from importlib.util import find_spec

    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"


def _source(extra: str) -> str:
    """As pip takes it: where it was installed from, if that was no registry."""
    from importlib import metadata

    wanted = f"{DISTRIBUTION}[{extra}]"
    try:
        told = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        told = None
    origin = json.loads(told) if told else {}
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {shlex.quote(unquote(urlsplit(origin['url']).path) + f'[{extra}]')}"
    return shlex.quote(f"{wanted} @ {origin['url']}" if origin else wanted)


def _uri(place: str) -> str:
    return Path(place).absolute().as_uri()

"""The words after `--` as a job's typed arguments and its inputs. Pure but for input paths.

Not by click or argparse: `--lr --fast` is a value that is missing, `--lr -3e-4` is a number, an
argument that is given twice is an error, and every error lists what the job takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from devbox.errors import SpecError, UsageError
from devbox.jobs.catalogue import plain
from devbox.spec import Argument, JobSpec
from devbox.text import clean, nearest

Value = str | int | float | bool | None
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


class Parsed(NamedTuple):
    """Values of all arguments, defaults filled in; the inputs' local paths, symlinks resolved."""

    args: dict[str, Value]
    inputs: dict[str, Path]


def parse(job: JobSpec, words: Sequence[str]) -> Parsed:
    """`--name value`, `--name=value`, `--flag`, `--no-flag`. UsageError names the argument and
    lists the valid ones."""
    args: dict[str, Value] = {}
    inputs: dict[str, Path] = {}
    known = {_option(name): name for name in (*job.args, *job.inputs)}
    for option, value in _pairs(job, known, words):
        name = known[option]
        if name in args or name in inputs:
            raise UsageError(f"--{option} is given twice", fix=_listing(job))
        if name in job.inputs:
            inputs[name] = _input(option, value)
        else:
            args[name] = _typed(option, job.args[name], value)
    for name, argument in job.args.items():
        if name not in args:
            args[name] = _default(job, name, argument)
    for name, wanted in job.inputs.items():
        if wanted.required and name not in inputs:
            raise UsageError(
                f"job {job.name} needs --{_option(name)} PATH ({wanted.help or 'its input'})",
                fix=_listing(job),
            )
    return Parsed(args, inputs)


def describe(job: JobSpec) -> str:
    """What the job is and takes, as `devbox run JOB -- --help` prints it."""
    rows: list[tuple[str, str]] = []
    for name, wanted in job.inputs.items():
        note = wanted.help or "file or folder"
        rows.append((f"--{_option(name)} PATH", note + (" (required)" if wanted.required else "")))
    for name, argument in job.args.items():
        kind = "|".join(argument.choices) if argument.choices else argument.type.upper()
        shown = f"--{_option(name)}" if argument.type == "bool" else f"--{_option(name)} {kind}"
        default = "" if argument.default is None else f" [{argument.default}]"
        required = " (required)" if argument.required else ""
        rows.append((shown, f"{argument.help}{default}{required}".strip()))
    width = max((len(left) for left, _ in rows), default=0)
    head = [f"{job.name}: {job.summary}" if job.summary else job.name]
    return "\n".join(head + [f"  {left:<{width}}  {right}".rstrip() for left, right in rows])


def _pairs(
    job: JobSpec, known: dict[str, str], words: Sequence[str]
) -> Iterator[tuple[str, str | None]]:
    """(option, value or None for a bare flag) in order; `--no-x` comes as ("x", "false")."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or word == "--":
            raise UsageError(f"unexpected word {clean(word, 60)!r}", fix=_listing(job))
        option, equals, value = word[2:].partition("=")
        option = option.replace("_", "-")
        negated = option.removeprefix("no-")
        if option not in known and _is_flag(job, known, negated) and not equals:
            yield negated, "false"
        elif option not in known:
            raise _unknown(job, known, option)
        elif equals:
            yield option, value
        elif _is_flag(job, known, option):
            yield option, None
        elif not waiting or _is_option(known, waiting[0]):
            raise UsageError(f"--{option} needs a value", fix=f"--{option}=VALUE")
        else:
            yield option, waiting.pop(0)


def _is_option(known: dict[str, str], word: str) -> bool:
    return word.startswith("--") and word[2:].partition("=")[0].replace("_", "-") in known


def _is_flag(job: JobSpec, known: dict[str, str], option: str) -> bool:
    name = known.get(option)
    return name in job.args and job.args[name].type == "bool"


def _typed(option: str, argument: Argument, value: str | None) -> Value:
    if argument.type == "bool":
        return _bool(option, value)
    assert value is not None  # `_pairs` gives a bare flag only for bool
    text = plain(value, f"--{option}")
    if argument.type == "str":
        return text
    if argument.type == "choice":
        if text not in argument.choices:
            raise UsageError(
                f"--{option} cannot be {clean(text, 60)!r}",
                fix=f"choose one of: {', '.join(argument.choices)}",
            )
        return text
    return _number(option, argument.type, text)


def _bool(option: str, value: str | None) -> bool:
    if value is None or value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise UsageError(
        f"--{option} cannot be {clean(value, 60)!r}", fix=f"--{option}, or --no-{option}"
    )


def _number(option: str, kind: str, text: str) -> int | float:
    try:
        if len(text) > 100 or "_" in text:
            raise ValueError
        number = int(text) if kind == "int" else float(text)
        if not math.isfinite(number):
            raise ValueError
    except (ValueError, OverflowError):
        word = "a whole number" if kind == "int" else "a number"
        raise UsageError(f"--{option} takes {word}, not {clean(text, 60)!r}") from None
    return number


def _default(job: JobSpec, name: str, argument: Argument) -> Value:
    if argument.required:
        raise UsageError(f"job {job.name} needs --{_option(name)}", fix=_listing(job))
    value = argument.default
    fits = {
        "str": isinstance(value, str),
        "choice": value in argument.choices,
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool),
    }
    if value is not None and not fits[argument.type]:
        raise SpecError(f"job {job.name}: the default of {name} is not a {argument.type}")
    return value


def _input(option: str, value: str | None) -> Path:
    text = plain(value or "", f"--{option}")
    path = Path(text).expanduser() if text else None
    try:
        if path is None or not (path.is_file() or path.is_dir()):
            raise UsageError(f"--{option}: there is no file or folder {clean(text, 200)!r}")
        found = path.resolve(strict=True)
        plain(str(found), f"the path of --{option}")
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--{option}: {clean(text, 200)!r}: {clean(why, 200)}") from error
    return found


def _unknown(job: JobSpec, known: dict[str, str], option: str) -> UsageError:
    close = nearest(option, known)
    hint = f"did you mean --{close}? " if close else ""
    return UsageError(
        f"job {job.name} has no argument --{clean(option, 60)}", fix=hint + _listing(job)
    )


def _listing(job: JobSpec) -> str:
    options = [f"--{_option(name)}" for name in (*job.inputs, *job.args)]
    return f"the arguments of {job.name} are: {', '.join(options) or 'none'}"


def _option(name: str) -> str:
    return name.replace("_", "-")

"""What is wrong with a Dockerfile before an engine sees it: Dev Mode's requirements, pins,
secrets in layers, the order of layers, and CUDA / torch / Python that cannot go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from devbox.images import compat, dockerfile, secret_scan
from devbox.images.dockerfile import Instruction
from devbox.text import clean

Level = Literal["error", "warn"]

#: what Dev Mode of a Space needs in the image (its public documentation)
DEV_MODE = ("bash", "curl", "wget", "procps", "git", "git-lfs")


class Finding(NamedTuple):
    """line: of the Dockerfile, 0 for all of it."""

    level: Level
    rule: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{self.level:5} {self.rule}: {where}{self.message}"


def lint(
    text: str,
    *,
    args: Mapping[str, str] | None = None,
    requirements: bytes = b"",
    systems: Iterable[str] = (),
    dev_mode: bool = True,
) -> list[Finding]:
    """Findings in the order of the file. args: build arguments that will be given. requirements:
    the pinned packages it installs from a file. systems: what is known to run in it. dev_mode:
    it is to work in a Space's Dev Mode."""
    found = dockerfile.parse(text, args)
    if not any(each.word == "FROM" for each in found):
        return [Finding("error", "syntax", 0, "no FROM: this is no Dockerfile")]
    final = dockerfile.last_stage(found)
    findings = [*_pins(found, requirements), *_secrets(found), *_order(final)]
    if dev_mode:
        findings += _dev_mode(final)
    stack = read_stack(final, requirements, systems)
    findings += [
        Finding("error" if level == "error" else "warn", "compat", 0, reason)
        for level, reason in compat.problems(stack)
    ]
    findings += _rendering(final, stack)
    return sorted(findings, key=lambda each: (each.line, each.rule))


def read_stack(
    found: list[Instruction], requirements: bytes, systems: Iterable[str]
) -> compat.Stack:
    """What the image will have, read off its instructions."""
    packages = {name: pinned for _, name, pinned, _ in _packages(found, requirements) if pinned}
    base = next((dockerfile.base(each) for each in reversed(found) if each.word == "FROM"), "")
    cuda = re.search(r"cuda:?-?(\d+)\.(\d+)", base)
    wheels = re.search(r"\+cu(\d+)(\d)\b", packages.get("torch", "")) or next(
        filter(None, (re.search(r"/whl/cu(\d+)(\d)\b", each.text) for each in found)), None
    )
    text = " ".join(each.text for each in found if each.word == "RUN").lower()
    told = {name for name, sign in _SIGNS.items() if sign in text}
    return compat.Stack(
        python=_python(found, base),
        torch=compat.version(packages.get("torch", "")),
        wheel_cuda=_pair(wheels),
        base_cuda=_pair(cuda),
        devel="devel" in base,
        packages=packages,
        systems=frozenset(systems) | told,
    )


_SIGNS = {
    "sam3": "facebookresearch/sam3",
    "sam-body4d": "gaomingqi/sam-body4d",
    "sharp": "apple/ml-sharp",
    "4d-humans": "shubham-goel/4d-humans",
}
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*(==|@|[<>~!]=?|$)\s*(\S*)")
_COMMIT = re.compile(r"@[0-9a-f]{7,40}\b")


def _packages(
    found: list[Instruction], requirements: bytes
) -> Iterator[tuple[int, str, str, bool]]:
    """(line, name, version or '', pinned) of each package that pip, uv or a file installs."""
    for each in found:
        if each.word != "RUN":
            continue
        for command in re.split(r"&&|\|\||;|\n", each.text):
            words = _unquoted(command)
            if "install" not in words or not {"pip", "pip3", "uv"} & {
                word.rsplit("/", 1)[-1] for word in words
            }:
                continue
            skip = False
            for word in words[words.index("install") + 1 :]:
                path = "/" in word.split("@")[0] and not word.startswith("git+")
                if skip or word.startswith("-") or path or word == ".":
                    skip = not skip and word in _WITH_VALUE
                    continue
                yield each.line, *_requirement(word)
    for line in requirements.decode(errors="replace").splitlines():
        if (word := line.partition("#")[0].strip()) and not word.startswith("-"):
            yield 0, *_requirement(word.partition(";")[0].strip())


_WITH_VALUE = frozenset(
    (
        *("-r", "-c", "-e", "-i", "-f", "-t", "--requirement", "--constraint", "--editable"),
        *("--target", "--index", "--index-url", "--extra-index-url", "--default-index"),
        *("--find-links", "--python", "--no-binary", "--only-binary", "--platform"),
    )
)


def _requirement(word: str) -> tuple[str, str, bool]:
    if word.startswith("git+"):
        name = word.partition("@")[0].rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
        return name.lower(), "", bool(_COMMIT.search(word.partition("://")[2]))
    found = _REQUIREMENT.match(word)
    if not found:
        return word, "", True  # a variable or a path: nothing can be said
    name, sign, rest = found.groups()
    if sign == "@":
        pinned = not rest.startswith("git+") or bool(_COMMIT.search(rest.partition("://")[2]))
        return name.lower(), "git" if pinned else "", pinned
    return name.lower(), rest if sign == "==" else "", sign == "==" and "*" not in rest


def _pins(found: list[Instruction], requirements: bytes) -> Iterator[Finding]:
    stages: set[str] = set()
    for each in found:
        if each.word == "FROM":
            base, earlier = dockerfile.base(each), stages.copy()
            stages.add(dockerfile.stage_name(each))
            tag = base.rsplit("/", 1)[-1].partition(":")[2]
            if not base or base.lower() in earlier or base == "scratch" or "$" in base:
                continue
            if "@sha256:" not in base and (not tag or tag == "latest"):
                yield Finding(
                    "error",
                    "pin-base",
                    each.line,
                    f"{clean(base, 80)} names no version: it is another image next month",
                )
        if (
            each.word == "ADD"
            and re.match(r"https?://", each.text)
            and "checksum" not in each.flags
        ):
            yield Finding("warn", "pin-download", each.line, "ADD of a URL without --checksum")
        if each.word == "RUN":
            if re.search(r"(curl|wget)[^|;&]*\|\s*(ba|z|da)?sh\b", each.text):
                yield Finding(
                    "warn",
                    "pin-download",
                    each.line,
                    "runs what it downloads, whatever that is on the day",
                )
            if "git clone" in each.text and not re.search(
                r"checkout\s.*[0-9a-f]{7,40}\b|--revision|(--branch|-b)\s+v?\d", each.text
            ):
                yield Finding(
                    "error",
                    "pin-source",
                    each.line,
                    "git clone of whatever the branch is: check out a commit",
                )
    for line, name, _, pinned in _packages(found, requirements):
        if not pinned:
            yield Finding(
                "error",
                "pin-package",
                line,
                f"{clean(name, 60)} is not pinned: name==version, or a git commit",
            )


_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|CREDENTIALS?|ACCESS_?KEY)"
    r"(?:_|$)",
    re.IGNORECASE,
)

_LOGIN_URL = re.compile(r"https?://[^/\s:@$]+:[^/\s@$]+@")


def _secrets(found: list[Instruction]) -> Iterator[Finding]:
    fix = "use RUN --mount=type=secret and devbox image build --secret"
    for each in found:
        if each.word in ("ENV", "ARG"):
            pairs = dockerfile.assignments(each.raw)
            names = set(dockerfile.arguments(each.raw) if each.word == "ARG" else pairs)
            for name in sorted(names):
                # An ENV without a value hides one; an ARG shows its value in the image's history.
                if _SECRET_NAME.search(name) and (each.word == "ARG" or pairs.get(name)):
                    yield Finding(
                        "error",
                        "secret",
                        each.line,
                        f"{each.word} {name} stays readable in the image: {fix}",
                    )
        if secret_scan.holds(f"{each.raw}\n{each.text}".encode(errors="replace")):
            named = f"{each.word} {each.raw.partition('=')[0]}" if each.word == "ARG" else each.word
            yield Finding(
                "error",
                "secret",
                each.line,
                f"{clean(named, 60)} holds what looks like a token or key: {fix}",
            )
        if each.word in ("COPY", "ADD") and "from" not in each.flags:
            first = each.text.split("\n", 1)[0]  # what follows is the text of here-documents
            for source in _unquoted(first)[:-1]:
                if secret_scan.named_like(source):
                    yield Finding(
                        "error",
                        "secret",
                        each.line,
                        f"copies {clean(source, 60)} into a layer: {fix}",
                    )
        if each.word in ("RUN", "ARG", "ENV", "ADD") and _LOGIN_URL.search(each.text):
            where = f"{each.raw.partition('=')[0]}: " if each.word == "ARG" else ""
            yield Finding(
                "error", "secret", each.line, clean(f"{where}a password in a URL: {fix}", 200)
            )


def _dev_mode(found: list[Instruction]) -> Iterator[Finding]:
    run = " ".join(each.text for each in found if each.word == "RUN")
    installed = set(re.split(r"[\s;&|]+", run))
    missing = [package for package in DEV_MODE if package not in installed]
    if missing:
        yield Finding(
            "error", "dev-mode", 0, f"Dev Mode needs {', '.join(missing)}, which no RUN installs"
        )
    last = {each.word: each for each in found}
    if not any(each.word in ("CMD", "ENTRYPOINT") for each in found):
        yield Finding("error", "dev-mode", 0, "no CMD: Dev Mode has nothing to run")
    if last.get("WORKDIR") is None or last["WORKDIR"].text.rstrip("/") != "/app":
        yield Finding("error", "dev-mode", 0, "Dev Mode edits the code in /app: WORKDIR /app")
    owned = re.search(r"(chown|install -d)[^&;]*\b1000\b[^&;]*/app\b", run) or any(
        each.flags.get("chown", "").split(":")[0] in ("1000", "user") for each in found
    )
    if not owned:
        yield Finding("error", "dev-mode", 0, "/app must be owned by uid 1000: chown 1000 /app")
    user = last.get("USER")
    if user is None or user.text.split(":")[0] in ("root", "0"):
        yield Finding(
            "error", "non-root", user.line if user else 0, "runs as root: end with USER 1000"
        )


def _order(found: list[Instruction]) -> Iterator[Finding]:
    whole = next(
        (
            each
            for each in found
            if each.word == "COPY"
            and "from" not in each.flags
            and each.text.split()[:1] in (["."], ["./"])
        ),
        None,
    )
    if whole is None:
        return
    for each in found:
        if (
            each.line > whole.line
            and each.word == "RUN"
            and re.search(
                r"\b(pip3?|uv|apt-get|apt|conda|npm)\s.*\binstall\b|\buv sync\b", each.text
            )
        ):
            yield Finding(
                "warn",
                "layer-order",
                each.line,
                f"comes after COPY . of line {whole.line}: every edit installs it again",
            )
            return


def _rendering(found: list[Instruction], stack: compat.Stack) -> Iterator[Finding]:
    env = {key for each in found if each.word == "ENV" for key in dockerfile.assignments(each.text)}
    if "pyrender" in stack.packages and "PYOPENGL_PLATFORM" not in env:
        message = "pyrender has no display in a container: ENV PYOPENGL_PLATFORM=egl"
        yield Finding("error", "egl", 0, message)


def _python(found: list[Instruction], base: str) -> compat.Version | None:
    for each in reversed(found):
        if each.word == "ARG" and (pairs := dockerfile.assignments(each.text)).get("PYTHON"):
            return compat.version(pairs["PYTHON"])
    told = re.search(r"(?:^|/)python:(\d+(?:\.\d+)+)", base)
    return compat.version(told.group(1)) if told else None


def _pair(match: re.Match[str] | None) -> compat.Version | None:
    return (int(match.group(1)), int(match.group(2))) if match else None


def _unquoted(text: str) -> list[str]:
    """Words, with what quotes hold kept together: `"a @ git+…"` is one, without its spaces."""
    joined = re.sub(r"([\"'])(.*?)\1", lambda found: re.sub(r"\s", "", found.group(2)), text)
    return joined.split()

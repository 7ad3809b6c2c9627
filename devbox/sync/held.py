"""Files that programs here act on by themselves, and that a box may therefore not bring along.

An editor runs tasks of a folder that is opened, direnv and mise what a folder says that is
entered, git hooks what lies in it at the next commit, a forge its workflows at the next push, and
devbox its own file. Code that someone runs (a Makefile, a conftest.py) is not among them. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from devbox.ignore.rules import selection

#: Names of files and folders, at any depth, as on a file system that does not tell case.
NAMES = frozenset(
    [
        # this program
        "devbox.toml",
        # version control, and the hooks and tools it runs at a commit
        ".git", ".gitmodules", ".gitconfig", ".hg", ".jj",
        ".husky", ".huskyrc", ".githooks", ".git-hooks", ".hooks",
        ".pre-commit-config.yaml", ".pre-commit-config.yml", "prek.toml",
        ".lefthook", ".lefthook-local", ".overcommit.yml", ".rusty-hook.toml", ".cargo-husky",
        "captainhook.json", "grumphp.yml", ".lintstagedrc",
        # editors, and agents that work in them or in a terminal
        ".vscode", ".idea", ".zed", ".fleet", ".vs", ".nova", ".theia", ".helix", ".lapce",
        ".devcontainer", ".devcontainer.json", ".gitpod.yml",
        ".exrc", "_exrc", ".vimrc", "_vimrc", ".gvimrc", ".lvimrc", ".local.vimrc", ".vim",
        ".nvimrc", ".nvim.lua", ".nvim", ".dir-locals.el", ".dir-locals-2.el", ".kateproject",
        ".cursor", ".cursorrules", ".claude", ".mcp.json", ".codex", ".gemini", ".windsurf",
        ".continue", ".aider.conf.yml", ".roo", ".kiro", ".amazonq", ".opencode",
        "opencode.json", "opencode.jsonc", ".junie", ".crush.json", "crush.json",
        # shells that enter a folder
        ".envrc", ".direnv", ".autoenv", ".autoenv.zsh", ".shadowenv.d", ".rvmrc",
        ".mise", ".rtx.toml", ".tool-versions", ".prototools",
        # debuggers and prompts that start in it
        ".gdbinit", ".lldbinit", ".pdbrc", ".pdbrc.py", ".irbrc", ".pryrc", ".rprofile",
        ".renviron", ".iex.exs", ".ghci", ".ocamlinit",
        # forges
        ".gitlab-ci.yml", ".gitlab-ci.yaml", ".circleci", ".buildkite", ".woodpecker",
        ".azure-pipelines", ".azuredevops", ".semaphore", ".teamcity", ".tekton", ".harness",
        ".builds", ".build.yml", "jenkinsfile", "bitbucket-pipelines.yml", "cloudbuild.yaml",
        "cloudbuild.yml", "cloudbuild.json", "buildspec.yml", "buildspec.yaml",
    ]
)  # fmt: skip
#: Names that come in many forms.
_FORMS = re.compile(
    r"""\.?mise(\..+)?\.toml | \.envrc\..+ | \.?lefthook(-local)?\.(ya?ml|toml|jsonc?)
    | \.?lint-?staged(rc|\.config)\..+ | \.huskyrc\..+
    | jupyter(_[a-z]+)?_config\.(py|json) | ipython_config\.(py|json)
    | \.?azure-pipelines.*\.ya?ml | \.?(travis|appveyor)\.ya?ml
    | \.(drone|woodpecker|cirrus)\.(ya?ml|star|jsonnet) | .*\.code-workspace""",
    re.VERBOSE,
)
# A folder and what is in it.
_INSIDE = re.compile(
    r"""\.(github|forgejo|gitea)/(workflows|actions) | \.gitlab/(ci|agents)
    | \.config/mise | mise/(config(\..+)?\.toml|conf\.d)""",
    re.VERBOSE,
)
# What Windows calls a file whose name does not fit into eight letters, such as GIT~1.
_SHORT = re.compile(
    r"""(git|vscode|devbox|devcon|husky|github|envrc|idea|mise|leftho|forgej|claude|cursor|travis
    |azure-|circle|jenkin|pre-co)[^.]{0,3}~[0-9]+.*""",
    re.VERBOSE,
)
_CONTROLS = bytes([*range(32), 127])


def acts(path: bytes) -> bool:
    """Whether a program here would act on a file of this path, also on a file system that ignores
    case, invisible characters, or dots and blanks at the end of a name."""
    above = ""
    for part in path.split(b"/"):
        name, named = _read(part)
        if named or (above and _INSIDE.fullmatch(f"{above}/{name}")):
            return True
        above = name or above
    return False


def held_back(
    paths: Iterable[bytes], *, chosen: Iterable[bytes] = (), patterns: Iterable[str] = ()
) -> set[bytes]:
    """Those of `paths` that are held back. chosen: paths that were asked for by name. patterns: of
    the spec; one that names such a file itself (`.vscode/`, not `*`) lets it through."""
    wanted = tuple(path for path in chosen if acts(path))
    named = selection(p for p in patterns if not p.startswith("!") and acts(p.encode()))
    return {
        path
        for path in paths
        if acts(path)
        and named.keeps(path, folder=False)
        and not any(path == w or path.startswith(w + b"/") for w in wanted)
    }


@lru_cache(maxsize=1 << 16)
def _read(part: bytes) -> tuple[str, bool]:
    """A name as it is compared, and whether it is held back wherever it lies."""
    name = _folded(part)
    held = name in NAMES or any(form.fullmatch(name) for form in (_FORMS, _SHORT))
    return name, held


def _folded(part: bytes) -> str:
    if part.isascii():
        seen = part.translate(None, _CONTROLS).decode()
    else:
        text = unicodedata.normalize("NFKC", part.decode(errors="replace"))
        seen = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc"))
    return seen.split(":")[0].rstrip(". ").casefold()

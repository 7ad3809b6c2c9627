"""What leaves no machine unless the spec's `include` names it, as .gitignore lines."""

from __future__ import annotations

#: Partly transferred files wait here, beside the file they become, on whichever side receives.
PARTIAL = ".devbox-partial"
#: Files on their way. In a folder of their own: a receiver that is killed leaves them behind, and
#: they must not look like someone's files.
ARRIVING = ".devbox-arriving"
#: What a box's image had in place of a file that was sent (`sync.new_disk`).
REPLACED = ".devbox-replaced"

#: Made again on each machine, or harmful there. `.git` because an index or a ref copied half-way,
#: or from under a running git, breaks the repository: clone or push instead.
JUNK: tuple[str, ...] = (
    ".git", ".hg", ".svn", ".venv/", "venv/", "node_modules/", "__pycache__/", "*.py[co]",
    ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".nox/",
    ".cache/", ".ipynb_checkpoints/", ".idea/", ".DS_Store", "._*", "Thumbs.db", "*.sw[op]",
    "?*~", ".#*",
)  # fmt: skip

#: Ours; not even `include` brings them along.
OURS: tuple[str, ...] = (
    *(f"{PARTIAL}/", f"{ARRIVING}/", f"{REPLACED}/", ".devbox/", ".devbox-box/"),
)

#: What runs made and was fetched (`jobs.fetch.default_folder`): it came from a box.
FETCHED: tuple[str, ...] = (f"/results/*-{'[0-9]' * 8}-{'[0-9]' * 6}-????/",)

#: Held back, and said so, because a box is a rented machine. The `!` lines are samples that
#: people commit.
SECRETS: tuple[str, ...] = (
    ".env", ".env.*", "!.env.example", "!.env.sample", "!.env.template", ".envrc", ".netrc",
    ".pypirc", ".ssh/", ".aws/", "*.pem", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
    "id_ecdsa_sk", "id_ed25519_sk",
)  # fmt: skip

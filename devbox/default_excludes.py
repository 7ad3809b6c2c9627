"""Files of no use anywhere but where they are, as .gitignore lines."""

from __future__ import annotations

#: Made again on each machine, or harmful there. `.git` because an index or a ref copied half-way,
#: or from under a running git, breaks the repository: clone or push instead.
JUNK: tuple[str, ...] = (
    ".git",
    ".hg",
    ".svn",
    ".venv/",
    "venv/",
    "node_modules/",
    "__pycache__/",
    "*.py[co]",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".tox/",
    ".nox/",
    ".cache/",
    ".ipynb_checkpoints/",
    ".idea/",
    ".DS_Store",
    "._*",
    "Thumbs.db",
    "*.sw[op]",
    "?*~",
    ".#*",
)

"""ssh's own files: devbox's config and its Host blocks, the user's one Include line, pinned host
keys, and the copies that Windows reads under WSL. May import the ground, state and spec.
"""

"""The `ssh` provider: a machine the user has already (a lab server, a WSL distribution)."""

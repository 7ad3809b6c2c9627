"""The `ssh` provider: a machine the person has already (a lab server, a WSL distribution)."""

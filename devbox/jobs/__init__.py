"""Control side of jobs: catalogue, submit, follow, fetch results."""

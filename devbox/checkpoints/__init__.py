"""Model weights of [checkpoints.NAME], here and on boxes; the box half does the work on both."""

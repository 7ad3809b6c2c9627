"""Model weights, fetched once to where [checkpoints.NAME] puts them and verified before use."""

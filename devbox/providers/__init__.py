"""Where boxes come from: one module or folder per provider, behind the contract in `base`."""

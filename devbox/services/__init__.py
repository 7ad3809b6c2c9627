"""Services from this side: which there are, starting one, waiting for it, reaching it."""

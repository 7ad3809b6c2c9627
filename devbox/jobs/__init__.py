"""Jobs from this side: what there is, starting a run, following it, fetching what it made."""

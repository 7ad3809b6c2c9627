"""Files up and down over rsync: progress, watch, what is unsynced. May import ignore/, remote/."""

"""Files up and down over rsync: rules, progress, watch, what is unsynced."""

"""What devbox remembers: SQLite with boxes, the intent journal, the ledger, runs and events."""

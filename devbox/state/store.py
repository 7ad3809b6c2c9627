"""The open state: its tables behind one object."""

from __future__ import annotations

from pathlib import Path

from devbox import paths
from devbox.state.batches import Batches
from devbox.state.boxes import Boxes
from devbox.state.budgets import Budgets
from devbox.state.database import Database
from devbox.state.ledger import Ledger
from devbox.state.records import Events, Runs
from devbox.state.usage import Usage


class Store:
    """What devbox remembers. `Store.open()` uses the file under DEVBOX_HOME."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.boxes = Boxes(database)
        self.ledger = Ledger(database)
        self.runs = Runs(database)
        self.batches = Batches(database)
        self.events = Events(database)
        self.usage = Usage(database)
        self.budgets = Budgets(database)

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        return cls(Database(path or paths.state_db()))

    def close(self) -> None:
        self.database.close()

"""Containers on a Docker engine as boxes, the engine near or far.

provider.py  the contract               container.py   what an engine is asked to make
engine.py    address, client, calls     entrypoint.py  what runs in it; private files put in
errors.py    the engine's faults        look.py        a container as an observation
tunnel.py    an engine behind ssh       image.py       template or reference, and its login
hardware.py  offers and checks
"""

from __future__ import annotations

import sys
from typing import cast

# The docker package would load paramiko for its own way over ssh, which takes as long as all the
# rest of it; ours is tunnel.py. None makes that import fail, which the package takes for "not
# installed".
cast("dict[str, object]", sys.modules).setdefault("docker.transport.sshconn", None)

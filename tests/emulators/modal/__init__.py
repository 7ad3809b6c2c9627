"""A Modal workspace on loopback: control plane and task command router, real sandboxes.

A sandbox is a machine of its own: Linux namespaces (mount, pid, network, uts,
ipc) and an overlay root whose lowest layer is this host's Debian without
anything personal. So ``sshd -D -e -p 22`` of a product's entrypoint runs
unchanged on port 22 of the sandbox's own loopback, and the tunnel is a port of
the host's loopback relayed into it. Killing process 1 of the namespace kills
everything, whatever session it moved to. An image is a chain of layers, a
snapshot a copy of what the sandbox wrote. There is no route out of a sandbox.

Needs root on Linux with overlayfs and ``/dev/shm``; says so where that is
missing. Everything lives in ``/dev/shm/modal-emulator-*``.

Knobs: fault routes are RPC names (``SandboxCreate``, ``TaskExecStart``, ...).
``LIST_LAG`` goes on ``SandboxListV2``, ``BUILD_ERROR`` on ``ImageGetOrCreate``,
``STOP_IGNORED`` on ``SandboxTerminate`` (both generations). A 429 with
``retry_after`` carries Modal's retry policy, which makes the client wait and
retry for as long as it is told to; without one the client raises at once.

``WorkspaceBillingRates`` has the names and the unit that public users printed
(see :mod:`prices`); an idle timeout ends as IDLE_TIMEOUT, as api.proto says.
Assumed, for want of documentation: retries with one idempotency key have one
effect (``dedupe_retries``); a sandbox's tags are in the billing report; a
sandbox costs until its end what its resources cost when it began (``reprice``).

``hollow=True``: nothing runs in sandboxes, for a simulation that plays what
happens in them (:mod:`hollow`); it needs neither root nor Linux namespaces.
"""

from __future__ import annotations

from tests.emulators.modal.emulator import ModalEmulator
from tests.emulators.modal.sandbox import Sandbox
from tests.emulators.modal.world import Stages

__all__ = ["ModalEmulator", "Sandbox", "Stages"]

"""Containers on a Docker engine as boxes, the engine near or far.

provider.py  the contract               container.py   what an engine is asked to make
engine.py    address, client, calls     entrypoint.py  what runs in it; private files put in
errors.py    the engine's faults        look.py        a container as an observation
tunnel.py    an engine behind ssh       image.py       template or reference, and its login
hardware.py  offers and checks
"""

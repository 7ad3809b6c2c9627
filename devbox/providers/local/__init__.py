"""Boxes on this machine: a folder, an embedded SSH server, and a guard that leaves nothing behind.

provider.py  the contract          folder.py     a box on disk, and which locks say it lives
server.py    the box's programs    processes.py  finding and ending every process of a box
guard.py     outlives the server   session.py, child.py, pump.py, files.py, forward.py  SSH
"""

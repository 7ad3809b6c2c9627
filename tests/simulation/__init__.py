"""Months of random use of many boxes in the time of emulators: `python -m tests.simulation`.

world.py    the emulated Hub and Modal workspace, their clock, and what is due next
machine.py  a box: what is done on it, and its watchdog by its own code
leap.py     time in which nothing changes, passed in one step
line.py     what stands in for ssh: the box half's verbs, answered in this process
laptop.py   a computer with devbox: its clock, its sleep, its crashes
life.py     what users do with all that, by chance
receiver.py where notices arrive
checks.py   what must hold of it
budgets.py  … of what boxes, days and months cost
prices.py   … and how late a ledger may learn a new price
files.py    … and what files boxes at Modal begin with
"""

"""Modal sandboxes as boxes.

provider.py  the contract            generations.py  which sandbox a handle means now
sandboxes.py the calls to Modal      record.py       a sandbox as Modal lists it; our tags
launch.py    making one              entrypoint.py   what runs in it: sshd with our host key
image.py     what it starts from     look.py         a sandbox as an observation
rates.py     hardware and prices     account.py      client, time limits; errors.py: its faults
logs.py      build and run logs      bill.py         Modal's own account of cost
"""

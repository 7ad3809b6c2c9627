"""Runs on the box: started, supervised to their end, logged and followed.

commands.py    the verbs              supervise.py  the process that watches one run
worker.py      the process that works process_group.py  its processes, as one thing
folder.py      runs/<id>/ on disk     log.py, jsonl.py, progress.py, outcome.py  what is kept of it
follow.py      the stream to a reader inputs.py     what was sent for it
queue.py       who waits, on disk     order.py      who is next, pure
turn.py        a run's wait           devices.py    the GPUs that can be given
rounds.py      a run's rounds on disk part.py       the work of a run that has them
command_line.py  a command, filled in command_round.py  a command's work on one round

May import box/ and box/probes.
"""

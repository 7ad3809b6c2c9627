"""The watchdog: the one process that samples a box, and what it decides from the samples.

daemon.py      the process itself       agent.py        what it does each second
policy.py      samples → idle or not, and why (pure)
signals/       one kind of use each     escalation.py   warn, save, pause: the order and the times
effects.py     what those steps do      pause_recipe.py how the provider is asked to pause the box
deadline.py    max_uptime               config.py       what `arm` was given
arm.py, keep.py, verdict.py             verbs of the box half

May import box/, box/probes and box/files; never box/runs but for its folder's format.
"""

"""What the two halves of devbox say to each other: the only package that both import.

messages.py  what travels, as NamedTuples
codec.py     bytes ↔ messages, with bounds; the cleaner of untrusted text

Python 3.9 and the standard library, because it travels to the box with devbox/box; it imports
nothing else of devbox.
"""

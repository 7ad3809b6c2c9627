"""A project to its Space, and edits made on a box back into the project.

target.py    which Space                 plan.py     what would be pushed, and what is wrong with it
repo.py      the project's git           push.py     git remote `hf`, or one commit by the API
follow.py    the build that follows      edits.py    what was edited on a box, as a patch
base.py      what the box was given
"""

"""Images: Dockerfiles from templates, and what a Docker engine makes of them.

templates.py  what there is          context.py   the files a build sends
render.py     template → Dockerfile  plan.py      what to build, and its content hash
dockerfile.py its instructions       build.py     build, tag, keep the log
lint.py       rules                  buildkit.py  the engine's BuildKit, through its API
compat.py     CUDA × torch × Python  push.py      to a registry; prune.py: away with old ones
"""

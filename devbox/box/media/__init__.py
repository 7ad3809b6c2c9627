"""Videos, image folders and drawings for jobs: `video` decodes, `frames` reads sequences of frames,
`draw` makes overlays and contact sheets.

May import `devbox.box.job`, and at call time opencv and numpy, which a job names in `packages`.
"""

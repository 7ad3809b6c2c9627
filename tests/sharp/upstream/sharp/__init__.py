"""A stand-in for apple/ml-sharp, written for these tests: its module names, signatures, output
types and file layout, around a network of three numbers.

A prediction is two layers of GRID × GRID Gaussians on slanted planes, coloured as the picture is,
where the real one always gives 2 × 768 × 768.
"""

GRID = 24
OPAQUE = False  # the first opacity is exactly 1, so that its logit in the PLY is +inf
LOG: list[str] = []  # what was called, in order

"""Which files of a project count, for a sync, an image and a deploy alike: `.gitignore`,
`.dockerignore`, what git tracks, and the spec. May import spec/, wire/, process and the ground.

Not on pathspec, which writes no rules for rsync and does not agree with git: over the random trees
of tests/sync/test_rules_against_git.py its GitIgnoreSpec (1.1.1) chose other files than
`git ls-files -co --exclude-standard` in 25 of 600 cases and raised on two more (`a**/b`, `[[:a`,
`[[:alpha:]]`, `! `). This engine agreed in all.
"""

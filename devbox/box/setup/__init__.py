"""What a box gets besides its image, once per disk: the project's setup lines, the user's dotfiles,
and who commits there. The control half is devbox.jobs.setup."""

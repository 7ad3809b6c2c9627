"""One batch over many boxes: a run whose pieces are spread over workers.

`schedule` decides, purely, which pieces which worker is given next. Each worker is a box with a run
of its own, which works the rounds that it is given with what every box already has."""

"""`devbox guard`: a small process that looks now and then, where nothing else does.

`watch` is all that stays in memory: it waits, with the standard library alone, and starts `round`
as a short-lived process. A round keeps schedules, ceilings and budgets, reconciles, and has notices
sent. What takes minutes are verbs, started by `act` in processes of their own, so that the end of
the guard cuts none off. `install` makes it a service of the user's. Nothing depends on it."""

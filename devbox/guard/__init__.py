"""`devbox guard`: a small process that looks now and then, where nothing else does.

`watch` is all that stays in memory: it waits, with the standard library alone, and starts `round`
as a short-lived process. A round keeps schedules and ceilings, reconciles, keeps budgets, and has
notices sent. What schedules and ceilings say are verbs, started by `act` in processes of their own
that outlive the guard. `install` makes it a service of the user's. Nothing depends on it."""

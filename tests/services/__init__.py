"""Services: a run that stays, its queue, its model, its requests."""

"""The tabs below the fleet. Each has `refresh_from(seen)`, called when something may be new."""

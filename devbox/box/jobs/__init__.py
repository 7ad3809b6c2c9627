"""The bundled jobs, one folder each: job.toml and the code that runs on the box."""

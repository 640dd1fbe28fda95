"""Scripts that run on nodes as ordinary jobs, for the doctor. Never imported by cockpit itself."""

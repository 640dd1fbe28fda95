"""The supervisor: one process per attempt, which owns its processes, judges its ranks and keeps the
journal; and the agent's side of it."""

"""What runs inside of a rank, loaded by path and without cockpit: worker, heartbeat slot, hooks."""

"""A look into running processes: the Python stacks of all ranks of an attempt."""

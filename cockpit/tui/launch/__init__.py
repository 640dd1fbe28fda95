"""The launch form: what is typed, what it means, the plan, and the start."""

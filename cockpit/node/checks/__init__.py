"""What would make a job fail on this node: facts and preflight checks, asked for by the agent."""

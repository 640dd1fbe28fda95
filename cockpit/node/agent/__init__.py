"""The agent: one process per connection, which does on a node what a controller asks for."""

"""The Fleet view and the view of one node: what is drawn of machines and their GPUs."""

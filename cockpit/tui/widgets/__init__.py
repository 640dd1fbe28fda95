"""Widgets on Textual's line API, for data that changes often. They know spans, not the model."""

"""How things look, without widgets: spans of text with tones, words, themes, the layout."""

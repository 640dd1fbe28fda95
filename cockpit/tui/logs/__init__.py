"""The log: from the raw lines of a document to rows on the screen, and all that is done with it."""

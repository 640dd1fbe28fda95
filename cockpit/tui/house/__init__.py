"""The cockpit itself: what happened, attention, themes on disk, debug and event pages, shells."""

"""The Source of a real cockpit: everything that the screen asks for, given by a controller."""

from cockpit.tui.live.source import LiveSource

__all__ = ["LiveSource"]

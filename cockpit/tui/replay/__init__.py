"""A recorded session of events on the screen: any job's journals, played at any speed.

`read` finds and reads them, `ReplaySource` plays them. No node is asked anything.
"""

from cockpit.tui.replay.recording import Recording, read
from cockpit.tui.replay.source import ReplaySource

__all__ = ["Recording", "ReplaySource", "read"]

"""A fleet that is made up: hundreds of nodes and a handful of jobs without a process behind them.

For trying the screen at scale (`cockpit demo --nodes 128`), for pictures and for benchmarks. All
of it follows from a seed and a clock, and says "simulated" wherever a figure or a name is shown.
"""

from cockpit.tui.simulated.source import SimulatedSource

__all__ = ["SimulatedSource"]

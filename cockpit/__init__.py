"""cockpit: profiles in a TOML file, jobs on many nodes, one screen that tells the truth about them.

This module is imported on nodes by user code too, so it stays free of imports.
"""

__version__ = "0.1.0"

"""Where a job lives: gang start, join, cancel and proof on nodes that cockpit reaches itself.

`local` and `ssh` are the same code over different transports. Used by the controller only.
"""

"""What controller and nodes say to each other: frames, requests, events, records, folders.

Standard library only, Python >= 3.9: it is part of the node runtime and runs on both sides.
"""

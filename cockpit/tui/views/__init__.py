"""The views of the cockpit, one module each. They draw frames and hold no state of the world."""

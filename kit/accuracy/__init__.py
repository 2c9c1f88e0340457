"""How far a device's result is from the reference, and whether that is close enough."""

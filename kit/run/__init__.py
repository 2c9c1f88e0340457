"""Running a model on a device: the passes, their timing, what fell back, and the record of it."""

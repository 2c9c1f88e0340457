"""The figures of large outputs (kit/accuracy/totals.py) in one compiled pass; needs numba."""

"""The figures of large outputs in one compiled pass; needs numba (requirements-fast.txt)."""

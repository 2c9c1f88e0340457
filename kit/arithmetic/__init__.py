"""Other arithmetics than fp32, on the CPU."""

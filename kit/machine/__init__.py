"""This machine: its processor, CANN, packages, memory, and a bounded child process."""

"""This machine: its processor, CANN, packages, memory, a bounded child process, and interrupts."""

"""The library beneath inference.py and compare_accuracy.py: one room a question (see README's map)."""

__version__ = "0.1.0"

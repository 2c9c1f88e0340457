"""Adapters that serve whole libraries; a model's own adapter only fills in the blanks."""

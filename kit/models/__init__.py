"""What a model must say of itself, and finding it."""

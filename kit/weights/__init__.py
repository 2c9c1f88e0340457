"""Where a model's bytes come from, under which deadline, and how they are proven to be those bytes."""

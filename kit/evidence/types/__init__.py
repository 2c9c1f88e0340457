"""The documents in logs/ as types: what each field means, its unit, and when it is null."""

"""The evidence: the documents in logs/, what may be believed of them, and what differs."""

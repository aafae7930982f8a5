"""Which route a request takes and who its client is. Pure."""

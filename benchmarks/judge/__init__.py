"""Two systems before a judge that sees their rows."""

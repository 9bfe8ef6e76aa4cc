"""The HTTP service, its page, and votes."""

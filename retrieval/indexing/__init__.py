"""The verbs of an index: they parse, call and print."""

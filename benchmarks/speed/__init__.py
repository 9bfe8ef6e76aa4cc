"""How fast, beside what could be and beside others."""

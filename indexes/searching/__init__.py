"""An index that is open: search, filters, beauty, parts, and whether it may be trusted."""

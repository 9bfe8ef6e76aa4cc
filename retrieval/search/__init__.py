"""From a query to results: parts and weights, cut-off, re-ranking, output."""

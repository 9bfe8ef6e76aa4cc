"""500 generic text queries, shipped: what people look for in pictures of any kind. They stand in for real queries
where a corpus brings none, to measure how far relevance spreads (indexes/records/beauty.py) and to calibrate it."""

from functools import cache
from importlib.resources import files


@cache
def generic_queries() -> tuple[str, ...]:
    """The 500 queries, always in the same order."""
    text = files(__package__).joinpath("generic_queries.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())

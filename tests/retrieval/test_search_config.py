"""One configuration for command line, Python and JSON: the same back again, and every problem named at once."""

import json
from typing import Any

import pytest

from indexes.errors import BeholderError
from retrieval.search.config import SearchConfig, parse_beauty, parse_min_relevance


def test_json_gives_the_same_configuration_back() -> None:
    config = SearchConfig(
        k=7,
        where="width > 3",
        near=0.9,
        beauty=(("sharpness", -0.5), ("", 1.0)),
        rewrite="template",
        rerank=("mmr:0.3", "rank-mix"),
        candidates=50,
        sort="width:desc",
        min_relevance="auto",
    )
    assert SearchConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert SearchConfig.from_dict({}) == SearchConfig()
    assert hash(config)  # the service groups requests by it


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"beauty": 1.5}, (("", 1.5),)),
        ({"beauty": {"sharpness": -1}}, (("sharpness", -1),)),
        ({"beauty": [["sharpness", 2]]}, (("sharpness", 2),)),
        ({"beauty": None}, ()),
        ({"beauty": {}}, ()),
    ],
)
def test_beauty_may_be_said_in_three_ways(given: dict[str, Any], expected: object) -> None:
    assert SearchConfig.from_dict(given).beauty == expected


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(BeholderError) as raised:
        SearchConfig(k=0, near=2, beauty=(("a", float("nan")), ("a", 1)), min_relevance=7, candidates=5, sort=":desc")
    for said in ("k is 0", "near is 2", "beauty a is nan", "a is given twice", "min_relevance is 7", "no column"):
        assert said in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kk": 3}, "kk is not known"),
        ({"k": "3"}, "k is 3"),
        ({"k": True}, "k is True"),
        ({"where": 3}, "where is not text"),
        ({"rerank": 3}, "cannot be read"),
        ({"beauty": {"a": "much"}}, "beauty a is much"),
        ({"beauty": ["a"]}, "cannot be read"),
        ({"min_relevance": "high"}, "'high'"),
        ({"candidates": 20}, "without rerank or sort"),
        ({"candidates": 5, "rerank": ["mmr"]}, "at least k, 10"),
    ],
)
def test_json_of_another_shape_is_an_error_of_ours(content: dict[str, Any], said: str) -> None:
    with pytest.raises(BeholderError, match=said):
        SearchConfig.from_dict(content)


def test_depth_is_what_the_stages_after_the_search_see() -> None:
    assert SearchConfig(k=10).depth == 10
    assert SearchConfig(k=10, sort="width").depth == 10
    assert SearchConfig(k=10, sort="width", candidates=40).depth == 40
    assert SearchConfig(k=10, rerank=("mmr",)).depth == 100
    assert SearchConfig(k=200, rerank=("mmr",)).depth == 200


def test_options_are_read() -> None:
    assert parse_beauty("1.5") == ("", 1.5)
    assert parse_beauty("pyiqa:musiq:-1") == ("pyiqa:musiq", -1.0)
    with pytest.raises(BeholderError, match="SCORER:WEIGHT"):
        parse_beauty("sharpness")
    assert parse_min_relevance(None) is None
    assert parse_min_relevance("auto") == "auto"
    assert parse_min_relevance("0.25") == 0.25
    with pytest.raises(BeholderError, match="auto, or a cosine"):
        parse_min_relevance("much")

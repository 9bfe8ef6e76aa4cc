"""The arm `pattern`: an answer in words with a mark where the query stands."""

import pytest

from retrieval.rewriting.arms import filled, load_arm


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("cubism painting, <query>, cubism art", "cubism painting, a guitar, cubism art"),
        ("soft light", "a guitar, soft light"),  # no mark: the query stands first
        ("one <query> two <query>", "one a guitar two"),
        ("", ""),
        ("<query>", ""),  # nothing was added
        ("<query>, ...", ""),
        ("dawn\n\tover <query>", "dawn over a guitar"),
    ],
)
def test_the_query_stands_where_the_answer_says(answer: str, text: str) -> None:
    assert filled("a guitar.", answer).text.strip() == text


def test_the_query_is_asked_as_one_json_string_and_its_own_marks_are_its_words() -> None:
    arm = load_arm("pattern")
    assert arm.question('a "<query>" sign')[1] == 'Query: "a \\"<query>\\" sign"'
    assert arm.schema is None
    assert filled("a <query> sign", "blue <query>").text == "blue a <query> sign"

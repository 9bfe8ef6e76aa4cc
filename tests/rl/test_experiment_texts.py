"""The texts of the experiments knowledge, look and arms: what is held out stays out, choices keep their budgets."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.knowledge.texts import KnowledgeQuery, key, naming_problems
from benchmarks.taste.look_measures import MEASURES
from benchmarks.taste.look_words import look_words
from indexes.errors import BeholderError, ConditionFailed
from retrieval.rewriting.arms import load_arm
from retrieval.rewriting.table import read_rewrites
from rl.experiments import knowledge, look
from rl.experiments.arms import ARMS, read_answers
from rl.experiments.knowledge_data import GLOSSARIES, Descriptions, in_dev
from rl.experiments.look_data import Words, in_words, read_glossary, same_root

DOCS = Path(__file__).parents[2] / "docs" / "experiments"


def test_queries_of_both_glossaries_name_nothing_and_are_not_asked(tmp_path: Path) -> None:
    table = tmp_path / "items.tsv"
    table.write_text("file\tstyle\tartist\na.jpg\tCubism\tgeorges braque\n")
    texts = Descriptions.read(DOCS / "knowledge", table)

    assert len(texts.asked) == 320
    assert len(texts.glossary) == 1600 + 2400
    assert {one.phrasing for one in texts.up_to(6)} == set(range(1, 7))
    for name in GLOSSARIES:
        rows = read_rewrites(DOCS / "knowledge" / name)[1]
        drawn = [KnowledgeQuery(row["named"], 1, row["query"], row["rewrite"], row["named"]) for row in rows]
        assert len({key(one.named) for one in drawn}) == 40
        assert naming_problems(drawn, {}) == []


def test_about_a_fifth_of_names_is_kept_to_choose_by_and_always_the_same() -> None:
    names = [f"images/{number}.jpg" for number in range(2000)]

    assert 0.17 < np.mean([in_dev(name) for name in names]) < 0.23
    assert [in_dev(name) for name in names] == [in_dev(name) for name in names]


def test_dev_holds_out_one_word_of_each_attribute_and_direction_and_no_unseen_word_is_asked() -> None:
    words = Words.read(None, dev=True)
    unseen = {one.word for one in look_words() if one.split != "trained"}

    held = [one for one, seen in zip(words.asked, words.trained, strict=True) if not seen]
    assert len({(one.attribute, one.sign) for one in held}) == len(held) == 2 * len(MEASURES)
    assert not {one.word for one in held} & set(words.learnt)
    assert not {one.word for one in words.asked} & unseen


def test_no_unseen_word_is_learnt_from() -> None:
    words = Words.read(DOCS / "look" / "glossary.tsv", dev=False)

    asked = [one.word for one, seen in zip(words.asked, words.trained, strict=True) if not seen]
    assert len(asked) == 24
    assert not set(asked) & set(words.learnt)
    glossary = read_glossary(DOCS / "look" / "glossary.tsv")
    assert len(words.learnt) == 48 + len(glossary)
    alike = {word for word in glossary if any(same_root(word, one) for one in asked)}
    compounds = {word for word in alike if word.endswith("-coloured") or word == "colour-filled"}  # not "colourless"
    assert alike - compounds == {"sparkling"}  # is not "sparse"


def test_no_word_of_the_root_of_one_held_out_on_dev_is_learnt_from() -> None:
    words = Words.read(DOCS / "look" / "glossary.tsv", dev=True)

    held = {one.word for one, seen in zip(words.asked, words.trained, strict=True) if not seen}
    assert {"grey", "soft", "cosy"} < held
    assert not {"greyish", "grayscale", "ash-grey", "soft-focus", "cosily-lit"} & set(words.learnt)
    assert "delicate" in words.learnt


def test_a_glossary_that_holds_a_measured_word_or_an_unknown_attribute_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "glossary.tsv"
    path.write_text("word\tteacher\nmurky\tbrightness-\n")
    with pytest.raises(BeholderError, match="holds 'murky'"):
        Words.read(path, dev=False)
    path.write_text("word\tteacher\ndim\tgloom+\n")
    with pytest.raises(BeholderError, match="asks for gloom"):
        read_glossary(path)


def test_signs_of_the_glossary_and_words_of_the_teacher() -> None:
    moody = next(one for one in look_words() if one.word == "moody")

    assert in_words(moody) == "moody forest, darkness, pale grey colours"
    dim = read_glossary(DOCS / "look" / "glossary.tsv")["dim"]
    assert dim[list(MEASURES).index("brightness")] == -1
    assert np.abs(dim).sum() == 1


def row(alpha: float, trained: float, unseen: float, hits: float, objects: float) -> dict[str, float]:
    return {
        "alpha": alpha,
        "precision@8 trained": trained,
        "precision@8 unseen": unseen,
        "hit_rate@10": hits,
        "objects mAP": objects,
    }


def test_the_best_inside_both_budgets_is_chosen() -> None:
    tried = [
        {
            "anchor": 1.0,
            "base": row(0, 8, 8, 85, 90),
            "sweep": [row(0.5, 20, 12, 84.5, 89.5), row(1, 40, 30, 84.5, 88)],
        },
        {"anchor": 3.0, "base": row(0, 8, 8, 85, 90), "sweep": [row(0.5, 25, 10, 84.9, 90), row(1, 30, 22, 83, 90)]},
    ]

    assert knowledge.chosen(tried, 1.0) == {"anchor": 3.0, "alpha": 0.5, "value": 17.5}
    assert knowledge.chosen(tried, 2.5)["alpha"] == 1
    with pytest.raises(ConditionFailed, match=r"more than 0.05 points"):
        knowledge.chosen(tried, 0.05)


def test_a_look_that_loses_the_subject_is_not_chosen() -> None:
    def figures(alpha: float, percentile: float, subject: float, objects: float = 90.0) -> dict[str, float]:
        told = {"look trained": percentile, "look unseen": percentile, "subject": subject, "hit_rate@10": 85.0}
        return {"alpha": alpha, **told, "objects mAP": objects}

    tried = [
        {
            "anchor": 1.0,
            "logit anchor": 0.1,
            "base": figures(0, 60, 50),
            "sweep": [figures(0.5, 70, 47), figures(1, 80, 44)],
        }
    ]

    assert look.chosen(tried, 1.0)["alpha"] == 0.5
    tried = [
        {
            "anchor": 1.0,
            "logit anchor": 0.1,
            "base": figures(0, 60, 50),
            "sweep": [figures(0.5, 70, 50), figures(1, 80, 50, 88.9)],
        }
    ]
    assert look.chosen(tried, 1.0)["alpha"] == 0.5  # objects by name are kept, too
    assert look.chosen(tried, 1.5)["alpha"] == 1


def test_recorded_answers_are_200_and_every_arm_can_compose_them() -> None:
    captions = {
        line.split("\t")[1]: f"a caption of {number}"
        for number, line in enumerate((DOCS / "arms" / "answers.tsv").read_text().splitlines())
        if line.startswith("captions\t")
    }
    asked = read_answers(DOCS / "arms" / "answers.tsv", captions)

    assert len(asked) == 200
    assert [one.query for one in asked if one.kind == "look"] == [one.query for one in look_words()]
    for arm in ARMS:
        for one in asked:
            text = load_arm(arm).compose(one.query, one.answers[arm]).text
            assert text
            assert arm == "reorg" or text.lower().startswith(one.query.lower())
    with pytest.raises(BeholderError, match="no caption of"):
        read_answers(DOCS / "arms" / "answers.tsv", {})

"""A critic as a scorer: its ratings become scores, pictures without one are counted."""

from pathlib import Path

import numpy as np
import pytest
import typer
from served import make_index
from tiny_llava import write_llava
from typer.testing import CliRunner

from indexes import load_index
from indexes.errors import BeholderError
from indexes.records.scores import read_scores
from retrieval.critic.scorer import CriticScorer, load_critic_scorer
from retrieval.scoring.score_cli import score
from retrieval.scoring.scorers import load_scorer
from retrieval.scoring.scoring import ScoreConfig, score_folder


def test_ratings_become_a_column_of_an_index(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_llava(tmp_path / "kind", ["good"])
    index = make_index(tmp_path / "index", pictures, ["p000.jpg", "p001.jpg", "p002.jpg"])
    spec = f"critic:{folder}"
    scorer = load_scorer(spec)
    assert scorer.card.name == "critic:kind"
    ratings = CriticScorer.score_pictures

    def rated(self: CriticScorer, pixels: list[np.ndarray]) -> np.ndarray:
        found = ratings(self, pixels)
        assert found == pytest.approx(4, abs=0.01)
        found[1] = np.nan
        return found

    monkeypatch.setattr(CriticScorer, "score_pictures", rated)
    report = score_folder(index, ScoreConfig((spec,), workers=1))[0]
    assert report.count == 2
    assert list(report.missing.values()) == ["the scorer gives it no score"]
    column = load_index(index).items_table().column("critic_kind").to_pylist()
    assert [value if value is None else round(value, 1) for value in column] == [4.0, None, 4.0]


def test_a_critic_that_is_none_or_elsewhere_is_refused() -> None:
    for name, said in (("critic:llm:x", "behind a server"), ("critic:nobody", "there is no critic 'nobody'")):
        with pytest.raises(BeholderError, match=said):
            load_critic_scorer(name)


def scored(folder: Path, critic: Path) -> str:
    """What the verb `score` prints."""
    app = typer.Typer()
    app.command()(score)
    done = CliRunner().invoke(app, [str(folder), "--scorer", f"critic:{critic}", "--workers", "1"])
    assert done.exit_code == 0, done.exception
    return done.output


def test_the_verb_keeps_scores_by_the_critics_weights_and_counts_what_has_none(pictures: Path, tmp_path: Path) -> None:
    make_index(tmp_path / "index", pictures, ["p000.jpg", "p001.jpg", "p002.jpg"])
    embeddings, column = tmp_path / "index.emb", tmp_path / "index.emb" / "scores" / "critic-mine.parquet"
    critic = write_llava(tmp_path / "mine", None)
    assert "critic:mine: 3 pictures (3 new)" in scored(embeddings, critic)
    first = read_scores(column)
    assert first.card["checkpoint_sha256"] == load_critic_scorer(f"critic:{critic}").card.checkpoint_sha256
    assert ((first.values >= 1) & (first.values <= 5)).all()
    assert "critic:mine: 3 pictures (0 new)" in scored(embeddings, critic)
    write_llava(critic, ["poor"])  # other weights under the same name
    assert "critic:mine: 3 pictures (3 new)" in scored(embeddings, critic)
    second = read_scores(column)
    assert second.fingerprint != first.fingerprint
    assert second.values == pytest.approx([2.0] * 3, abs=0.01)
    write_llava(critic, None, context=16)  # no question fits it
    said = scored(embeddings, critic)
    assert "critic:mine: 0 pictures" in said
    assert "no score: p000.jpg: the scorer gives it no score" in said

"""Protects the numbers in the documents: blocks are rewritten from runs, and this repository's own agree
with theirs.
"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.report import RESULTS, documents, find_blocks, render, report
from benchmarks.runs import Number, Run, read_run, write_run
from indexes.errors import ConditionFailed, FormatError

ROOT = Path(__file__).parents[2]
RUN = Run(
    name="tiny",
    command="beholder bench retrieval t.tsv --text-column caption",
    machine={"cores": 2, "cpu": "A CPU", "python": "3.11.2", "torch": "2.15.0", "faiss": None},
    seed=7,
    data={},
    numbers={
        "hit_rate@10": Number(0.7234, "share", 0.7111, 0.7358, 5000, 0.01),
        "a|b": Number(0.5),
    },
    notes=("5,000 captions.",),
)
RENDERED = """\
| measure | value | 95 % interval | chance | n |
| --- | ---: | ---: | ---: | ---: |
| hit_rate@10 | 72.3 % | 71.1 to 73.6 | 1.0 % | 5,000 |
| a\\|b | 50.0 % |  |  |  |

5,000 captions.  
`beholder bench retrieval t.tsv --text-column caption`  
2 cores of A CPU, python 3.11.2, torch 2.15.0; seed 7.
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_run(tmp_path / RESULTS / "tiny.json", RUN)
    (tmp_path / "README.md").write_text("# Top\n<!-- results:tiny -->\nold\n<!-- end -->\nafter\n")
    (tmp_path / "docs" / "deep").mkdir()
    (tmp_path / "docs" / "deep" / "page.md").write_text("no block\n")
    return tmp_path


def test_this_repository_agrees_with_its_results() -> None:
    report(ROOT, check=True)
    for path in sorted((ROOT / RESULTS).glob("*.json")):
        assert read_run(path).name == path.stem


def test_rendered_table_by_hand() -> None:
    assert render(RUN) == RENDERED


def test_rates_show_their_range_and_unit() -> None:
    numbers = {"ours": Number(123.4, "pictures/s", 99.5, 130.0, 3, spread="range"), "m": Number(0.934, "")}
    lines = render(Run("speed", "c", {}, 0, {}, numbers)).splitlines()
    assert lines[0] == "| measure | value | lowest to highest | repeats |"
    assert lines[2] == "| ours | 123 pictures/s | 99.5 to 130 | 3 |"
    assert lines[3] == "| m | 0.93 |  |  |"


def test_only_the_block_is_rewritten_and_twice_is_once(repository: Path) -> None:
    changed, blocks = report(repository)
    assert ([path.name for path in changed], blocks) == (["README.md"], 1)
    text = (repository / "README.md").read_text()
    assert text == f"# Top\n<!-- results:tiny -->\n\n{RENDERED}\n<!-- end -->\nafter\n"
    assert report(repository) == ([], 1)
    report(repository, check=True)


def test_check_fails_where_a_number_was_edited_and_writes_nothing(repository: Path) -> None:
    report(repository)
    edited = (repository / "README.md").read_text().replace("72.3", "92.3")
    (repository / "README.md").write_text(edited)
    with pytest.raises(ConditionFailed, match=r"README.md differ") as error:
        report(repository, check=True)
    assert error.value.exit_code == 1
    assert (repository / "README.md").read_text() == edited


def test_a_block_of_a_run_that_does_not_exist_fails(repository: Path) -> None:
    (repository / "docs" / "deep" / "page.md").write_text("<!-- results:gone -->\n<!-- end -->\n")
    with pytest.raises(ConditionFailed, match=r"gone\.json"):
        report(repository, check=True)
    with pytest.raises(FormatError, match=r"gone\.json"):
        report(repository)


def test_a_block_without_an_end_is_named() -> None:
    with pytest.raises(FormatError, match="has no end"):
        find_blocks("<!-- results:a -->\nx\n<!-- results:b -->\n<!-- end -->\n")


def test_a_block_may_show_several_runs(repository: Path) -> None:
    write_run(repository / RESULTS / "other.json", Run("other", "second command", {}, 0, {}, {}))
    (repository / "README.md").write_text("<!-- results:tiny, other -->\n<!-- end -->\n")
    report(repository)
    text = (repository / "README.md").read_text()
    assert RENDERED in text
    assert "`second command`" in text


def test_model_cards_are_documents(repository: Path) -> None:
    card = repository / "retrieval" / "models" / "mini" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("card")
    assert card in documents(repository)


def test_verb_reports_blocks(repository: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--root", str(repository)])
    assert result.exit_code == 0
    assert "1 blocks, 1 documents rewritten" in result.stdout

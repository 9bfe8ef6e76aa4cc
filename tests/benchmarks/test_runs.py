"""Protects the run record: round trip, other formats refused, the command line, and no path of a machine
inside.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path, read_run, write_run
from indexes.errors import FormatError


def example() -> Run:
    numbers = {
        "hit_rate@10": Number.of(bootstrap_mean([0, 1, 1, 1]), chance=0.01),
        "rate": Number(12.5, "pictures/s", 11.0, 13.0, 3, spread="range"),
        "memory": Number(300, "MiB"),
    }
    return Run("tiny", "beholder bench retrieval t.tsv", {"cores": 2}, 0, {"pictures": 4}, numbers, ("a note",))


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "made" / "tiny.json"
    write_run(path, example())
    assert read_run(path) == example()
    content = json.loads(path.read_bytes())
    assert (content["kind"], content["format"]) == ("beholder-run", 1)
    assert list(content["numbers"]) == ["hit_rate@10", "rate", "memory"]  # the order of a table's rows
    assert "low" not in content["numbers"]["memory"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "beholder-index"}, "of kind beholder-index"),
        ({"format": 2}, "format 2; expected at most 1"),
        ({"format": 0}, "format 0"),
        ({"surprise": 1}, "does not hold a run"),
        ({"numbers": {"x": {}}}, "does not hold a run"),
    ],
)
def test_other_runs_are_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**example().to_dict(), **change}))
    with pytest.raises(FormatError, match=words):
        read_run(path)


def test_missing_and_cut_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no run"):
        read_run(tmp_path / "none.json")
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(example().to_dict())[:40])
    with pytest.raises(FormatError, match="not JSON"):
        read_run(path)


def test_names_that_a_block_cannot_hold_are_refused(tmp_path: Path) -> None:
    run = Run("two words", "c", {}, 0, {}, {})
    with pytest.raises(FormatError, match="two words"):
        write_run(tmp_path / "run.json", run)


def test_command_names_what_differs_from_the_defaults() -> None:
    @dataclass(frozen=True)
    class Config:
        table: Path
        model: str | None = None
        label_column: tuple[str, ...] = ()
        zero_shot: bool = False
        seed: int = 0

    plain = Config(Path("t.tsv"))
    assert command_of("bench retrieval", plain) == "beholder bench retrieval t.tsv"
    full = Config(Path("t.tsv"), "a b", ("x", "y,z"), True)
    assert command_of("bench retrieval", full) == (
        "beholder bench retrieval t.tsv --model 'a b' --label-column x --label-column y,z --zero-shot"
    )


def test_paths_in_records_name_no_folder_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHOLDER_DATA", str(tmp_path / "data"))
    assert portable_path(tmp_path / "data" / "set" / "a.tsv") == "$BEHOLDER_DATA/set/a.tsv"
    assert portable_path(tmp_path / "elsewhere" / "a.tsv") == "a.tsv"
    monkeypatch.chdir(tmp_path)
    assert portable_path(Path("here/a.tsv")) == "here/a.tsv"


def test_machine_has_cores_cpu_and_versions() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert set(machine) == {"cores", "cpu", "python", "torch", "faiss"}

"""`index update` and `export`, and search with --where and --dedup, from the command line as a user calls them."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def index(beholder: Run, pictures: Path, tiny_model: Path, tmp_path: Path) -> Path:
    for number in range(2):
        shutil.copy(pictures / "p004.jpg", pictures / f"copy{number}.jpg")
    done = beholder("index", "update", tmp_path / "index", pictures, "--model", tiny_model, "--workers", 1)
    assert done.stdout.startswith(f"{tmp_path / 'index'}: made, 22 pictures (22 added, 0 removed)\nknn_recall@10 1.000")
    return tmp_path / "index"


def test_update_search_and_export(beholder: Run, index: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "p000.jpg").unlink()
    report = json.loads(beholder("index", "update", index, pictures, "--json", "--workers", 1).stdout)
    assert (report["created"], report["added"], report["removed"], report["count"]) == (False, 0, 1, 21)
    done = beholder("search", index, "a", "-k", 50, "--dedup", "--near", 1, "--where", "uri <> 'p007.jpg'", "--json")
    found = json.loads(done.stdout)["results"]
    assert len(found) == 18  # of 21 pictures without p007, three of which are one
    assert sorted(len(result["copies"]) for result in found)[-2:] == [0, 2]
    assert "p007.jpg" not in {result["uri"] for result in found}
    assert "20 of 21 pictures match --where" in done.stderr
    wrong = beholder("search", index, "a", "--where", "colour = 'red'", check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "colour" in wrong.stderr
    assert "id, uri, sha256, width" in wrong.stderr
    assert beholder("index", "export", index, tmp_path / "clip").returncode == 0
    assert np.load(tmp_path / "clip" / "img_emb" / "img_emb_0.npy").shape == (21, 32)


def test_a_likely_mistake_is_one_line(beholder: Run, index: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = beholder("index", "update", index, tmp_path / "elsewhere", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "its own source" in done.stderr
    done = beholder("index", "update", index, tmp_path / "elsewhere", "--knn-recall", 0.9, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "index tune" in done.stderr

"""What several tests of the service share: an index of noise, and a service over it that no test changes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import write_pictures

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from retrieval.service.service import Service


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 pictures."""
    folder = tmp_path_factory.mktemp("served") / "pictures"
    write_pictures(folder, 24)
    return folder


@pytest.fixture(scope="session")
def noise_index(noise: Path) -> Path:
    """Their index, ids in the order of names."""
    from tests.retrieval.served import make_index

    return make_index(noise.parent / "noise.index", noise, sorted(os.listdir(noise)))


@pytest.fixture(scope="module")
def served(noise_index: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[TestClient, Service]]":
    from tests.retrieval.service_client import opened

    with opened(noise_index, tmp_path_factory.mktemp("votes")) as pair:
        yield pair


@pytest.fixture
def client(served: "tuple[TestClient, Service]") -> "TestClient":
    return served[0]

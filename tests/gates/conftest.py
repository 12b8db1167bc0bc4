"""A place for the file of a table."""

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.gates"

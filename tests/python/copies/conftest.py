"""An ODS of two districts to copy, for the modules that have none of their own."""

from collections.abc import Iterator

import pytest

import polars_edfi as edfi

from .test_sync import client_of


@pytest.fixture
def ods() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(districts=["255901", "255902"], records=40) as ods:
        yield ods


@pytest.fixture
def client(ods: edfi.Sandbox) -> edfi.EdFiClient:
    return client_of(ods)

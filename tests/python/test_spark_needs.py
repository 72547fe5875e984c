"""What is said where Spark's own packages are missing or too old. The rest is in tests/spark."""

import sys
from types import ModuleType

import pytest

import polars_edfi


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was imported before."""
    for name in [name for name in sys.modules if name.startswith("polars_edfi.spark")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(polars_edfi, "spark", raising=False)


def test_a_missing_pyspark_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ImportError, match=r"not installed: pip install .*polars-edfi\[spark\]"):
        from polars_edfi import spark  # noqa: F401


def test_an_old_pyspark_is_told_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("pyspark")
    old.__version__ = "3.5.6"
    monkeypatch.setitem(sys.modules, "pyspark", old)
    with pytest.raises(ImportError, match=r"needs pyspark 4\.0 or newer, found 3\.5\.6"):
        from polars_edfi import spark  # noqa: F401


def test_a_missing_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    new = ModuleType("pyspark")
    new.__version__ = "4.1.0"
    monkeypatch.setitem(sys.modules, "pyspark", new)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow 15\.0 or newer, which is not"):
        from polars_edfi import spark  # noqa: F401

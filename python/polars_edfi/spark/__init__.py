"""Ed-Fi ODSs as a source of Spark's: read, written and streamed by the tasks of a cluster.

>>> from polars_edfi import spark as edfi_spark  # doctest: +SKIP
>>> edfi_spark.register(session)  # doctest: +SKIP
>>> students = (  # doctest: +SKIP
...     session.read.format("edfi")
...     .options(base_url=url, client_id=key, client_secret=secret)
...     .load("ed-fi/students")
... )

It needs PySpark 4 (the extra ``polars-edfi[spark]``) and a Java that PySpark finds.
"""

from __future__ import annotations

from polars_edfi.spark._needs import check_needs

check_needs()

from polars_edfi.spark._copies import sync  # noqa: E402 - only where all that is needed is there
from polars_edfi.spark._session import read, register  # noqa: E402

__all__ = ["read", "register", "sync"]

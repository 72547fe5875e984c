"""Copies of whole ODSs that stay equal to them, in files or in tables."""

from polars_edfi._sync.sync import sync

__all__ = ["sync"]

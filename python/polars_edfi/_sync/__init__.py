"""Copies of whole ODSs that stay equal to them, in files or in tables."""

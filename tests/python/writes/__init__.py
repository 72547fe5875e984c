"""Posting payloads: what goes over the wire, and what is said of each row."""

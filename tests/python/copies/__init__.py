"""Copies that follow their ODS: merged by hand, or kept by a run."""

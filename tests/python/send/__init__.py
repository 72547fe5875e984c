"""Many resources at once: their order, rounds, removal."""

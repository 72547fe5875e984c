"""Single items: read and deleted by id."""

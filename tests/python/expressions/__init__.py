"""The expression plugin, by what a server sees of it."""

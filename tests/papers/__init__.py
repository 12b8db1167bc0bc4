"""A package, because some of its tests have the names of others."""

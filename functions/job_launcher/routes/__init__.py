"""Which event launches which Job: a file of routes, matched and rendered."""

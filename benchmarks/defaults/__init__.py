"""Which model suits a table that nobody has looked at yet: what ``mlops init`` writes against models made by hand."""

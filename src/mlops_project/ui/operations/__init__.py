"""The page Operations: what is served and registered; promote and roll back."""

"""Attacks and accidents on the loop, and healthy retrainings, played on real tables: ``make bench-loop``."""

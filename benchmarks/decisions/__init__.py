"""Decisions that people act on: measured on real tables. ``make bench-decisions``."""

"""Batch engines: tables of any length through the runtime."""

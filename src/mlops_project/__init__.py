"""From a table in a YAML file to a model in production that people can trust, and back."""

__version__ = "0.1.0"

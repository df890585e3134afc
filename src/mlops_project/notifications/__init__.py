"""News of a model for other programs: written to an outbox at once, and posted from there, signed, until they are taken."""

"""The append-only record of what was asked and answered, and of the labels that came later."""

"""How files and folders are kept: written whole, replaced in one step, locked."""

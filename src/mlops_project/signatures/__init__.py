"""Who made a bundle: statements that are signed with a private key, and checked with public ones before anything is read."""

"""What every section of a configuration file is: a frozen block of settings."""

from typing import Any

import msgspec


class Section(msgspec.Struct, frozen=True, dict=True):
    """A frozen block of settings. ``section["key"]`` reads like the YAML file and equals ``section.key``."""

    def __getitem__(self, key: str) -> Any:
        """Return the setting called ``key``."""
        if key not in self.__struct_fields__:
            raise KeyError(key)
        return getattr(self, key)

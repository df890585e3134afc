"""The section about what a model's owner says of it: what it is for, what not, and whom to ask."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_project.sections.section import Section

MAX_WORDS, MAX_LINE = 2000, 200  # characters
TITLES = {
    "intended_use": "Intended use",
    "out_of_scope": "Out of scope",
    "owner": "Owner",
    "contact": "Contact",
    "licence": "Licence",
}


class CardConfig(Section, frozen=True, dict=True):
    """What the owner says of the model, in the model card and wherever the model is described."""

    intended_use: Annotated[
        str, Meta(max_length=MAX_WORDS, description="What the model is meant for: who decides what with its answers.")
    ] = ""
    out_of_scope: Annotated[
        str, Meta(max_length=MAX_WORDS, description="What it must not be used for, and whom it may harm.")
    ] = ""
    owner: Annotated[str, Meta(max_length=MAX_LINE, description="Who answers for it: a person or a team.")] = ""
    contact: Annotated[str, Meta(max_length=MAX_LINE, description="Whom to ask: an address, a page, a channel.")] = ""
    licence: Annotated[
        str, Meta(max_length=MAX_LINE, description="Under which licence it may be used, such as `Apache-2.0` or `internal`.")
    ] = ""

    @property
    def said(self) -> dict[str, str]:
        """Title → text of what the owner said; empty if nothing was."""
        return {title: text for name, title in TITLES.items() if (text := " ".join(getattr(self, name).split()))}


def read_card(settings: Mapping[str, Any]) -> CardConfig:
    """Return the section of a bundle's settings; an empty one where it is not there, or no such section."""
    try:
        return msgspec.convert(settings.get("card", {}), CardConfig)
    except msgspec.ValidationError:
        return CardConfig()

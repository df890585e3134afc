"""What MLflow shows of a bundle: its model card as a description, its owner's words and the codes of its findings as tags."""

from mlops_project.bundle import Bundle
from mlops_project.sections.card import read_card as read_owner

CARD_FILE = "README.md"
MAX_DESCRIPTION = 5000  # characters that MLflow's database keeps
REST = f"\n\nThe whole card is `{CARD_FILE}` among the model's files.\n"


def read_card(bundle: Bundle, limit: int = MAX_DESCRIPTION) -> str:
    """Return a bundle's model card, Markdown, cut after a section to at most ``limit`` characters; a line if it has none."""
    metadata, file = bundle.metadata, bundle.path / CARD_FILE
    if CARD_FILE not in metadata.files:
        return f"{metadata.estimator} on {metadata.data_source}, {metadata.train_rows} rows"
    card = file.read_text(encoding="utf-8")
    if len(card) <= limit:
        return card
    kept = card[: limit - len(REST)]
    section, line = (max(kept.rfind(mark), 0) for mark in ("\n## ", "\n"))
    end = section if section > len(kept) // 2 else line  # a long section is not left out whole
    return kept[: end or None] + REST


def tag_owner(bundle: Bundle) -> dict[str, str]:
    """Return what a bundle's owner says of it, as tags for people; empty if nothing was said."""
    return {title.lower(): text[:MAX_DESCRIPTION] for title, text in read_owner(bundle.metadata.config).said.items()}


def list_findings(bundle: Bundle) -> str:
    """Return the codes of a bundle's findings that were not accepted, the gravest first; ``none`` if there are none."""
    codes = dict.fromkeys(finding.code for finding in bundle.metadata.findings if not finding.accepted)
    return ", ".join(codes)[:MAX_DESCRIPTION] or "none"

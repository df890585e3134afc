"""A visitor's language: its texts, which are in ``texts/``, and numbers as it writes them."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from mlops_project.contract import Feature
from mlops_project.ui.format import format_moment, format_number

LANGUAGES = {"en": "English", "pt": "Português"}
TAGS = {"en": "en", "pt": "pt-BR"}  # for `<html lang>`
_COMMAS = str.maketrans(",.", ".,")


def _read_texts(code: str) -> dict[str, Any]:
    file = Path(__file__).parent / "texts" / f"{code}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


# Language → key → text. Braces are filled in; the caller escapes values that come from a visitor.
TEXTS = {code: _read_texts(code) for code in LANGUAGES}


class Translate:
    """Writes texts and numbers in one language; called with a text's key and what fills its braces.

    Parameters
    ----------
    code
        A key of ``LANGUAGES``.
    """

    def __init__(self, code: str) -> None:
        self.code, self.tag = code, TAGS[code]
        self._texts: dict[str, str] = TEXTS[code]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text; numbers that fill its braces are written as the language writes them."""
        text = self._texts[key]
        return text.format(**{name: self._fill(value) for name, value in values.items()}) if values else text

    def _fill(self, value: object) -> object:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.number(value) if is_number else value  # type: ignore[arg-type]

    def localise(self, text: str) -> str:
        """Return a number that was written with English comma and point as this language writes it."""
        return text if self.code == "en" else text.translate(_COMMAS)

    def number(self, value: float | None, digits: int = 5) -> str:
        """Return a number with ``digits`` significant digits; integers with all of theirs."""
        return self.localise(f"{value:,}" if isinstance(value, int) else format_number(value, digits))

    def percent(self, share: float, decimals: int = 1) -> str:
        """Return a share in [0, 1] as per cent."""
        return self.localise(f"{share:,.{decimals}%}")


def find_language(*wishes: str | None) -> str:
    """Return the first of several codes (such as ``pt-BR``) that there is a language for; English if there is none."""
    codes = [(wish or "").lower().partition("-")[0] for wish in wishes]
    return next((code for code in codes if code in LANGUAGES), "en")


def name_metric(t: Translate, metric: str) -> str:
    """Return a metric's name in the language; its own name if the texts have none."""
    key = f"metric.{metric}"
    return t(key) if key in TEXTS[t.code] else metric


def format_value(value: Any, feature: Feature, t: Translate) -> str:
    """Return one input as people read it.

    Parameters
    ----------
    value
        As a form holds it: a plain Python value, a date as ISO 8601 text, None where missing.
    feature
        That it is a value of.
    t
        The visitor's language.
    """
    if value is None:
        return t("missing")
    if isinstance(value, bool):
        return t("yes" if value else "no")
    if isinstance(value, int | float):
        return t.localise(format_number(value))
    return format_moment(value) if feature.type == "datetime" else str(value)


def format_bound(value: float | None, feature: Feature, t: Translate) -> str:
    """Return an end of the training range as people read it.

    Parameters
    ----------
    value
        Of a date, seconds since 1970; None if training saw no value, shown as ``-``.
    feature
        Whose range.
    t
        The visitor's language.
    """
    if value is None:
        return "-"
    is_date = feature.type == "datetime"
    return format_moment(str(np.datetime64(round(value), "s"))) if is_date else t.localise(format_number(value))

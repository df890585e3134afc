"""What was played, as tables."""

from benchmarks.loop.project import Outcome
from benchmarks.monitor.report import draw

SAID = 300  # characters of a sentence


def render(outcomes: list[Outcome], before: list[Outcome]) -> str:
    """Return the tables of attacks and of healthy retrainings, with an earlier run beside them."""
    known = {(item.world, item.case): item for item in before}
    parts = [_render_attacks([item for item in outcomes if not item.healthy], known)]
    parts.append(_render_healthy([item for item in outcomes if item.healthy], known))
    return "\n\n".join(part for part in parts if part)


def _render_attacks(outcomes: list[Outcome], known: dict[tuple[str, str], Outcome]) -> str:
    if not outcomes:
        return ""
    table: list[tuple[str, ...]] = [("attack or accident", "table", "before", "now", "what it says")]
    for item in outcomes:
        old = known.get((item.case, item.world)) or known.get((item.world, item.case))
        table.append((item.case, item.world, _say(old) if old else "", _say(item), _shorten(item.text)))
    promoted = sum(item.promoted for item in outcomes)
    return f"{promoted} of {len(outcomes)} attacks and accidents changed the champion.\n\n" + draw(table)


def _render_healthy(outcomes: list[Outcome], known: dict[tuple[str, str], Outcome]) -> str:
    if not outcomes:
        return ""
    table: list[tuple[str, ...]] = [("healthy", "table", "before", "now", "vetoes")]
    for item in outcomes:
        old = known.get((item.world, item.case))
        table.append((item.case, item.world, _say(old) if old else "", _say(item), ", ".join(item.vetoes)))
    vetoed = sum(bool(item.vetoes) for item in outcomes)
    return f"{vetoed} of {len(outcomes)} healthy retrainings were vetoed.\n\n" + draw(table)


def _say(item: Outcome) -> str:
    result = "vetoed" if item.vetoes and item.result == "refused" else item.result
    tries = f", {item.retrainings} times by itself" if item.retrainings > 1 else ""
    return f"{result} ({item.before:.3f} → {item.after:.3f}{tries})"


def _shorten(text: str) -> str:
    return text if len(text) <= SAID else f"{text[: SAID - 1]}…"

"""Faults in a model's world and in its data: pure functions of rows, their place in the run, and a random generator.

A fault is written ``KIND:option=value,…``. ``KINDS`` is also the order in which several are applied: first what happens in the
world (which rows come, their values, their truth), then how it is written down.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from mlops_project.contract import NUMERIC_TYPES
from mlops_project.errors import ConfigError, suggest
from mlops_project.runtime import Floats
from mlops_project.simulation.rows import NUMBERS, TEXTS, Column, Mask, Rows, Source

OPTION = re.compile(r"\s*(\w+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^,]*))\s*(?:,|$)")
Shape = Literal["sudden", "gradual", "seasonal", "bursts"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What all faults have: when, how strongly, how many rows.

    Attributes
    ----------
    kind, summary, example
        For help.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[str]

    from_: Annotated[float, Meta(ge=0, lt=1, description="Beginning, as a share of the run.")] = msgspec.field(
        default=0.0, name="from"
    )
    until: Annotated[float, Meta(gt=0, le=1, description="End, as a share of the run.")] = 1.0
    shape: Annotated[
        Shape,
        Meta(description="At once, growing until the end, rising and falling as a sine, or on and off."),
    ] = "sudden"
    cycles: Annotated[float, Meta(gt=0, description="How many seasons or bursts there are between beginning and end.")] = 2.0
    share: Annotated[float, Meta(gt=0, le=1, description="Share of the rows that it befalls at full strength.")] = 1.0

    def resolve(self, source: Source) -> Self:
        """Return the fault with every open option chosen for this table.

        Raises
        ------
        ConfigError, ContractError
            If it cannot be done to this model's rows.
        """
        return self

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Return the rows with the fault.

        Parameters
        ----------
        rows
            Not changed: other values come in new arrays.
        positions
            Where in the run each row is, ``(n_rows,)`` in [0, 1).
        rng
            This fault's own random numbers.
        source
            The table that rows are drawn from, with its contract and statistics.
        """
        raise NotImplementedError

    def strength(self, positions: Floats) -> Floats:
        """Return how strong the fault is at each position, ``(n_rows,)`` in [-1, 1]; negative only with ``seasonal``."""
        within = (positions - self.from_) / (self.until - self.from_)
        phase = within * self.cycles
        shapes = {
            "sudden": np.ones_like(within),
            "gradual": within,
            "seasonal": np.sin(2 * np.pi * phase),
            "bursts": (phase % 1.0 < 0.5).astype(np.float64),
        }
        return np.where((within >= 0) & (within < 1), shapes[self.shape], 0.0)

    def hits(self, positions: Floats, rng: np.random.Generator) -> Mask:
        """Return which rows are changed, bool ``(n_rows,)``, drawn with ``share`` times the strength."""
        struck: Mask = rng.random(len(positions)) < self.share * self.strength(positions)
        return struck


class LabelShift(Fault, frozen=True, kw_only=True):
    """The mix of classes changes (regression: of rows above and below the median), rows of each class do not."""

    kind = "labels"
    summary = "the classes' shares change, each class looks as before (regression: more rows above the median)"
    example = "labels:class=1,prior=0.9,from=0.5"

    class_: Annotated[str, Meta(description="Label or name of the class; default the last.")] = msgspec.field(
        default="", name="class"
    )
    prior: Annotated[float, Meta(ge=0, le=1, description="Its share of the rows at full strength.")] = 0.8

    def resolve(self, source: Source) -> Self:
        """Find the class."""
        if not source.contract.is_classification:
            if self.class_:
                raise ConfigError("a regression has no classes; leave class out: prior is the share above the median")
            return self
        index = source.find_class(self.class_)
        if len(np.unique(source.rows.truth)) < 2 or index not in source.rows.truth:
            raise ConfigError(f"the table has no rows to choose from for class {source.contract.class_names[index]!r}")
        return msgspec.structs.replace(self, class_=str(source.contract.classes[index]))

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Replace as many rows as the new share needs: others by rows of the class, or rows of the class by others."""
        pool = self._belongs(source.rows.truth, source)
        old = float(pool.mean())
        new = old + self.share * np.clip(self.strength(positions), 0, 1) * (self.prior - old)
        here, luck = self._belongs(rows.truth, source), rng.random(len(rows))
        grow = ~here & (luck < (new - old) / (1 - old))
        shrink = here & (luck < (old - new) / old)
        for where, members in ((grow, pool), (shrink, ~pool)):
            if where.any():
                rows = rows.replaced(where, source.draw(int(where.sum()), rng, np.flatnonzero(members)))
        return rows

    def _belongs(self, truth: npt.NDArray[Any], source: Source) -> Mask:
        if source.contract.is_classification:
            return np.asarray(truth == source.find_class(self.class_))
        return np.asarray(truth > np.median(source.rows.truth))


class CovariateShift(Fault, frozen=True, kw_only=True):
    """A numeric feature moves; the truth of the rows stays what it was."""

    kind = "covariate"
    summary = "a numeric feature moves by so many standard deviations; with share, only in a segment of the rows"
    example = 'covariate:feature="mean radius",size=0.5,shape=gradual'

    feature: Annotated[str, Meta(description="Which; default the one that goes most with the target.")] = ""
    size: Annotated[float, Meta(description="By how many standard deviations of the table.")] = 1.0

    def resolve(self, source: Source) -> Self:
        """Choose the feature."""
        return msgspec.structs.replace(self, feature=source.find_feature(self.feature, NUMBERS).name)

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Add the shift; whole numbers stay whole."""
        befallen = rng.random(len(rows)) < self.share  # which rows are in the segment does not depend on the strength
        shift = befallen * self.size * source.deviation(self.feature) * self.strength(positions)
        return _with_numbers(rows, self.feature, rows.columns[self.feature] + shift, source)


class ConceptDrift(Fault, frozen=True, kw_only=True):
    """The rule changes: rows that look the same come out differently."""

    kind = "concept"
    summary = "the rule changes: in a segment of the feature space each class becomes the next (regression: values move)"
    example = 'concept:feature="worst radius",at=0.7,side=above,from=0.4'

    feature: Annotated[str, Meta(description="What bounds the segment; default the one that goes most with the target.")] = ""
    at: Annotated[float, Meta(ge=0, le=1, description="Quantile of the feature at which the segment begins.")] = 0.5
    side: Annotated[Literal["above", "below"], Meta(description="On which side of it the segment lies.")] = "above"
    size: Annotated[float, Meta(description="Regression: by how many standard deviations the value moves.")] = 1.0

    def resolve(self, source: Source) -> Self:
        """Choose the feature."""
        return msgspec.structs.replace(self, feature=source.find_feature(self.feature, NUMBERS).name)

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Change the truth of the rows in the segment."""
        values, edge = rows.columns[self.feature], np.nanquantile(source.rows.columns[self.feature], self.at)
        inside = values >= edge if self.side == "above" else values <= edge
        changed = inside & self.hits(positions, rng)
        if source.contract.is_classification:
            other = (rows.truth + 1) % len(source.contract.classes)
        else:
            other = rows.truth + self.size * float(np.std(source.rows.truth))
        return Rows(rows.columns, np.where(changed, other, rows.truth))


class CategoryFault(Fault, frozen=True, kw_only=True):
    """A text feature holds a value that training did not know, or two values change places."""

    kind = "category"
    summary = "a text feature holds a value that training did not know, or its two most frequent values change places"
    example = "category:feature=city,value=Atlantis,share=0.2"

    feature: Annotated[str, Meta(description="Which; default the first.")] = ""
    value: Annotated[str, Meta(description="What stands there instead.")] = "never seen before"
    swap: Annotated[bool, Meta(description="Let the two most frequent values change places instead.")] = False

    def resolve(self, source: Source) -> Self:
        """Choose the feature."""
        name = source.find_feature(self.feature, TEXTS).name
        if self.swap and len(_most_frequent(source.rows.columns[name])) < 2:
            raise ConfigError(f"feature {name!r} has fewer than two values to swap; name another")
        return msgspec.structs.replace(self, feature=name)

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Write other values."""
        struck, old = self.hits(positions, rng), rows.columns[self.feature]
        new = np.full(len(rows), self.value, object)
        if self.swap:
            one, other = _most_frequent(source.rows.columns[self.feature])
            new = np.where(old == one, other, np.where(old == other, one, old))
        return rows.with_column(self.feature, np.where(struck, new, old))


class UnitFault(Fault, frozen=True, kw_only=True):
    """A numeric feature arrives in another unit."""

    kind = "unit"
    summary = "a numeric feature arrives in another unit: times a factor"
    example = 'unit:feature="mean radius",factor=25.4,from=0.5'

    feature: Annotated[str, Meta(description="Which; default the one that goes most with the target.")] = ""
    factor: Annotated[float, Meta(description="Times what; 25.4 makes millimetres of inches.")] = 25.4

    def resolve(self, source: Source) -> Self:
        """Choose the feature."""
        return msgspec.structs.replace(self, feature=source.find_feature(self.feature, NUMBERS).name)

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Multiply; whole numbers stay whole."""
        old = rows.columns[self.feature]
        return _with_numbers(rows, self.feature, np.where(self.hits(positions, rng), old * self.factor, old), source)


class MissingValues(Fault, frozen=True, kw_only=True):
    """Values are missing, in bursts."""

    kind = "nulls"
    summary = "a feature's values are missing, in bursts; the server refuses them where training had none"
    example = 'nulls:feature="mean radius",share=0.8,cycles=3'

    feature: Annotated[str, Meta(description="Which; default one that may be missing, if there is any.")] = ""
    shape: Annotated[
        Shape,
        Meta(description="At once, growing until the end, rising and falling as a sine, or on and off."),
    ] = "bursts"

    def resolve(self, source: Source) -> Self:
        """Choose the feature."""
        types = (*NUMERIC_TYPES, *TEXTS, "datetime")
        return msgspec.structs.replace(self, feature=source.find_feature(self.feature, types, nullable=True).name)

    def apply(self, rows: Rows, positions: Floats, rng: np.random.Generator, source: Source) -> Rows:
        """Empty values."""
        struck, changed = self.hits(positions, rng), rows.columns[self.feature].copy()
        missing = {"M": np.datetime64("NaT"), "O": None}
        changed[struck] = missing.get(changed.dtype.kind, np.nan)
        return rows.with_column(self.feature, changed)


def _with_numbers(rows: Rows, name: str, numbers: Floats, source: Source) -> Rows:
    return rows.with_column(name, np.round(numbers) if source.contract.feature(name).type == "integer" else numbers)


def _most_frequent(column: Column) -> list[str]:
    """Return up to two values, the most frequent first; of equals the first in the alphabet."""
    values, counts = np.unique([value for value in column if value is not None], return_counts=True)
    return [str(values[place]) for place in np.argsort(-counts, kind="stable")[:2]]


KINDS: dict[str, type[Fault]] = {
    kind.kind: kind for kind in (LabelShift, CovariateShift, ConceptDrift, CategoryFault, UnitFault, MissingValues)
}


def parse_fault(text: str) -> Fault:
    """Read ``KIND:option=value,…``; a value with commas stands in quotes.

    Raises
    ------
    ConfigError
        If the kind or an option is wrong; the message lists every problem.
    """
    name, _, options = text.partition(":")
    kind = KINDS.get(name.strip())
    if kind is None:
        raise ConfigError(f"--fault {text}: no fault {name!r}{suggest(name, list(KINDS))}; faults: {', '.join(KINDS)}")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in _split(text, options):
        if key not in fields:
            problems.append(f"no option {key!r}{suggest(key, list(fields))}; options: {', '.join(fields)}")
            continue
        try:
            values[key] = _convert(value, fields[key].type)
        except (msgspec.ValidationError, ValueError):
            problems.append(f"{key}={value} is wrong, expected {_expected(value, fields[key].type)}")
    if not problems:
        fault = msgspec.convert(values, kind)
        if fault.until > fault.from_:
            return fault
        problems.append(f"from={fault.from_:g} is not before until={fault.until:g}")
    raise ConfigError(f"--fault {text}: " + "; ".join(problems))


def _split(text: str, options: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(options):
        match = OPTION.match(options, at)
        if match is None:
            raise ConfigError(f"--fault {text}: {options[at:]!r} is wrong, expected option=value,option=value")
        found.append((match[1], next(part for part in match.groups()[1:] if part is not None).strip()))
        at = match.end()
    return found


def _convert(value: str, wanted: Any) -> Any:
    converted = msgspec.convert(value, wanted, strict=False)
    if isinstance(converted, float) and not np.isfinite(converted):
        raise ValueError
    return converted


def _expected(value: str, wanted: Any) -> str:
    kind, meta = get_args(wanted)
    if choices := get_args(kind):
        return f"one of {', '.join(choices)}{suggest(value, choices)}"
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f" {sign} {getattr(meta, name):g}" for name, sign in bounds.items() if getattr(meta, name) is not None]
    return {float: "a number", bool: "true or false"}[kind] + ",".join(limits)


def resolve_faults(faults: Sequence[Fault], source: Source) -> list[Fault]:
    """Return the faults in the order in which they are applied, with every open option chosen.

    Raises
    ------
    ConfigError, ContractError
        If one cannot be done to this model's rows.
    """
    order = list(KINDS)
    ordered = sorted(faults, key=lambda fault: order.index(fault.kind))
    resolved = []
    for fault in ordered:
        try:
            resolved.append(fault.resolve(source))
        except ConfigError as error:
            raise ConfigError(f"--fault {fault.kind}: {error}") from error
    return resolved


def describe_kinds() -> list[tuple[str, str]]:
    """Return (what, meaning) rows for people: every kind, its options with defaults, an example."""
    common = {(field.encode_name, field.default) for field in msgspec.structs.fields(Fault)}
    lines = []
    for name, kind in KINDS.items():
        own = [field for field in msgspec.structs.fields(kind) if (field.encode_name, field.default) not in common]
        lines += [(name, kind.summary), *map(_describe, own)]
        lines.append(("  example", f"--fault '{kind.example}'"))
    return [*lines, ("every fault", "has these options too"), *map(_describe, msgspec.structs.fields(Fault))]


def _describe(field: msgspec.structs.FieldInfo) -> tuple[str, str]:
    kind, meta = get_args(field.type)
    choices = f" One of {', '.join(get_args(kind))}." if get_args(kind) else ""
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    shown = "" if default == "" else f"={default:g}" if isinstance(default, float) else f"={default}"
    return f"  {field.encode_name}{shown}", f"{meta.description}{choices}"

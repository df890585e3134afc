"""Counts of words or characters. The runtime splits the texts (``words.py``); the graph counts, weighs and scales."""

from collections.abc import Collection
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import DOUBLE, INT64, Graph
from mlops_project.modeling.export.imputers import text_is_missing
from mlops_project.modeling.export.registry import LAST_DIGITS, refuse_missing, transformer
from mlops_project.words import MOST_CHARACTERS, WordRule, escape

# Patterns of whole words, and the length of the shortest that they find.
PATTERNS = {
    r"(?u)\b\w\w+\b": 2,
    r"\b\w\w+\b": 2,
    r"\w\w+": 2,
    r"(?u)\b\w+\b": 1,
    r"\b\w+\b": 1,
    r"(?u)\w+": 1,
    r"\w+": 1,
}
MOST_HASHES = 2**18  # a row of float64 takes 2 MB
MICROSOFT = "com.microsoft"  # whose operators ONNX Runtime has beside the standard's
NEVER = "\0"  # begins what no text is split into


@transformer("sklearn.CountVectorizer")
def add_counts(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Count each word, or sequence of words, of the vocabulary."""
    stop: Collection[str] = (step.analyzer == "word" and step.get_stop_words()) or frozenset()
    if step.ngram_range == (1, 1):  # a stop word that is not in the vocabulary is not counted anyway
        stop = [word for word in stop if word in step.vocabulary_]
    tokens = _split(graph, columns, step, stop)
    n_terms = len(step.vocabulary_)
    graph.needs_columns(3 * n_terms)
    counts = graph.cast(graph.add("TfIdfVectorizer", tokens, **_pool(step)), DOUBLE)
    if step.binary:
        counts = graph.add("Min", counts, graph.constant(1.0))
    return Columns.of_matrix(counts, n_terms, sparse=True)


def _split(graph: Graph, columns: Columns, step: Any, stop: Collection[str]) -> str:
    """Return the words of the step's column, ``(n_rows, n_words)``, filled up with empty ones."""
    if len(columns) != 1 or columns.kinds != {"text"}:
        raise ExportError("it reads one text column; name the column in ColumnTransformer, not in a list")
    if np.dtype(step.dtype) in (np.float32, np.float16):
        raise ExportError(f"dtype={np.dtype(step.dtype).name} makes later steps compute in it; leave it out")
    _check_analyzer(step)
    of_characters = step.analyzer != "word"
    rule = WordRule(
        column=columns.items[0].place,
        lowercase=bool(step.lowercase),
        accents=_read_accents(step),
        shortest=2 if of_characters else _read_pattern(step),
        stop=frozenset(map(str, stop)),
        grams=step.analyzer if of_characters else "",
        length=(int(step.ngram_range[0]), int(step.ngram_range[1])) if of_characters else (1, 1),
    )
    if columns.items[0].source != "texts":
        raise ExportError("a step before it changes the text; give it the column as it is in the table")
    _refuse_gaps(graph, columns)
    return graph.split_words(rule)


@transformer("sklearn.HashingVectorizer", agreement=LAST_DIGITS)
def add_hashes(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Count words in the columns that their MurmurHash3 names, as ``FeatureHasher`` does, and scale each row."""
    if step.analyzer in ("char", "char_wb"):
        raise ExportError(f"analyzer={step.analyzer!r} cannot be exported exactly; use 'word', or TfidfVectorizer")
    if step.ngram_range != (1, 1):
        raise ExportError(f"ngram_range={step.ngram_range} cannot be exported exactly; use (1, 1), or TfidfVectorizer")
    if step.n_features > MOST_HASHES:
        raise ExportError(
            f"a row of {step.n_features:,} hashes takes {step.n_features / 2**17:.0f} MB; use n_features=2**18, or "
            "TfidfVectorizer(max_features=...)"
        )
    tokens = _split(graph, columns, step, step.get_stop_words() or frozenset())
    bounds = (graph.constant([number], np.int64) for number in (1, 2**31 - 1, 1))
    tokens = graph.add("Slice", tokens, *bounds)  # without the sign that stands before the words
    n_columns = int(step.n_features)
    graph.needs_columns(3 * n_columns)
    hashed = graph.cast(graph.add("MurmurHash3", tokens, domain=MICROSOFT, positive=0, seed=0), INT64)
    place = graph.add("Mod", graph.add("Abs", hashed), graph.constant(n_columns, np.int64))
    least = graph.add("Equal", hashed, graph.constant(-(2**31), np.int64))  # has no absolute value in 32 bits
    place = graph.add("Where", least, graph.constant((2**31 - n_columns) % n_columns, np.int64), place)
    one, nothing = graph.constant(1.0), graph.constant(0.0)
    signed = graph.add("Where", graph.add("Less", hashed, graph.constant(0, np.int64)), graph.constant(-1.0), one)
    given = graph.add("Where", graph.add("Equal", tokens, graph.text("")), nothing, signed if step.alternate_sign else one)
    if step.binary:
        given = graph.add("Abs", given)
    shape = graph.add("Concat", graph.add("Shape", tokens, start=0, end=1), graph.constant([n_columns], np.int64), axis=0)
    empty = graph.add("Expand", graph.constant([[0.0]]), shape)
    value = graph.add("ScatterElements", empty, place, given, axis=1, reduction="add")
    if step.binary:
        value = graph.add("Min", value, one)
    return Columns.of_matrix(_scale(graph, value, step.norm), n_columns, sparse=True)


@transformer("sklearn.TfidfVectorizer", agreement=LAST_DIGITS)
def add_weighted_counts(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Count words, then weigh the counts."""
    return add_weights(graph, add_counts(graph, columns, step), step._tfidf)


@transformer("mlops_project.OneColumn")
def add_one_column(_graph: Graph, columns: Columns, _step: Any) -> Columns:
    """Hand the column on; a missing text is the empty one."""
    return Columns(tuple(item._replace(nullable=True) for item in columns.items))


@transformer("mlops_project.WordWeights", agreement=LAST_DIGITS)
def add_word_weights(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Weigh each column's words; a missing text has none."""
    texts = (Columns((item._replace(nullable=True),)) for item in columns.items)
    return join(add_weighted_counts(graph, column, part) for column, part in zip(texts, step.vectorizers_, strict=True))


@transformer("sklearn.TfidfTransformer", agreement=LAST_DIGITS)
def add_weights(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Weigh counts by how rare their words are, and scale each row."""
    refuse_missing(graph, columns)
    value, zero, one = columns.matrix(graph), graph.constant(0.0), graph.constant(1.0)
    if step.sublinear_tf:
        nothing = graph.add("Equal", value, zero)
        logarithm = graph.add("Log", graph.add("Where", nothing, one, value))
        value = graph.add("Where", nothing, zero, graph.add("Add", logarithm, one))
    if step.use_idf:
        value = graph.add("Mul", value, graph.constant(np.asarray(step.idf_, np.float64)[None]))
    return Columns.of_matrix(_scale(graph, value, step.norm), len(columns), sparse=True)


def _scale(graph: Graph, value: str, norm: str | None) -> str:
    """Divide each row by its length; a row without words stays."""
    if norm is None:
        return value
    size = graph.add("Mul", value, value) if norm == "l2" else graph.add("Abs", value)
    size = graph.column_sum(size)
    size = graph.add("Sqrt", size) if norm == "l2" else size
    empty = graph.add("Equal", size, graph.constant(0.0))
    return graph.add("Div", value, graph.add("Where", empty, graph.constant(1.0), size))


def _refuse_gaps(graph: Graph, columns: Columns) -> None:
    """Give a missing text no answer, as the library does, unless the table's empty texts have become missing ones."""
    if columns.items[0].nullable:
        return
    missing = text_is_missing(graph, columns.column(graph, 0))
    graph.refuse_rows(graph.add("Where", missing, graph.constant(np.nan), graph.constant(0.0)))


def _read_accents(step: Any) -> str:
    if step.strip_accents not in (None, "unicode", "ascii"):
        raise ExportError("strip_accents of your own cannot be exported; use 'unicode' or 'ascii'")
    return step.strip_accents or ""


def _check_analyzer(step: Any) -> None:
    for name in ("tokenizer", "preprocessor"):
        if getattr(step, name) is not None:
            raise ExportError(f"a {name} of your own cannot be exported; leave it out (words of letters, digits and _)")
    if step.analyzer not in ("word", "char", "char_wb"):
        raise ExportError("an analyzer of your own cannot be exported; use 'word', 'char' or 'char_wb'")
    if step.analyzer != "word" and step.ngram_range[1] > MOST_CHARACTERS:
        raise ExportError(f"sequences of {step.ngram_range[1]} characters are not exported; use at most {MOST_CHARACTERS}")
    if step.input != "content":
        raise ExportError(f"input={step.input!r} reads files; give it the texts themselves (input='content')")


def _read_pattern(step: Any) -> int:
    if step.token_pattern not in PATTERNS:
        wanted = r"(?u)\b\w+\b"
        raise ExportError(f"token_pattern={step.token_pattern!r} cannot be exported exactly; leave it out, or use {wanted!r}")
    return PATTERNS[step.token_pattern]


def _pool(step: Any) -> dict[str, Any]:
    """Return the operator's attributes: every term, shorter sequences first, and the column of each.

    A sequence of characters is one word to the operator: the runtime has found it.
    """
    low, high = step.ngram_range if step.analyzer == "word" else (1, 1)
    by_length: dict[int, list[tuple[list[str], int]]] = {length: [] for length in range(1, high + 1)}
    for term, place in sorted(step.vocabulary_.items(), key=lambda item: item[1]):
        words = term.split(" ") if step.analyzer == "word" else [escape(term)]
        if not low <= len(words) <= high or not all(words):  # of a vocabulary of the user's own: never found
            words = [f"{NEVER}{place}"] * low
        by_length[len(words)].append((words, int(place)))
    starts: list[int] = []
    pool: list[str] = []
    places: list[int] = []
    for terms in by_length.values():
        starts.append(len(pool))
        pool += [word for words, _ in terms for word in words]
        places += [place for _, place in terms]
    return {
        "mode": "TF",
        "min_gram_length": low,
        "max_gram_length": high,
        "max_skip_count": 0,
        "ngram_counts": starts,
        "ngram_indexes": places,
        "pool_strings": pool,
    }

"""Which of two classes is the positive one: the label that reads like it, else the rarer one.

Precision, recall and curves are about the positive class, so it should be what people look for: who churned, what failed.
Labels are read in English, Portuguese, Spanish, French, Italian and German.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops_project.contract import Contract, Label
from mlops_project.tables.table import Table


def _split(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words are compared without accents and in small letters; a stem stands for every word that begins with it.
POSITIVE_WORDS = _split("""
    yes true positive affirmative present detected left leave leaves leaver exit exited quit lost lapsed terminated departed
    resigned bad scam spam phishing malware attack attacked intrusion outlier late overdue broken error alarm damaged faulty
    ill illness sick cancer tumor tumour dead died dies death deceased fatal pneumonia stroke case high risk risky unsafe
    dangerous hazardous hostile stolen theft violation breach crime guilty accident crash crashed claim charged converted
    bought buy purchased subscribed clicked won win fake
    sim verdadeiro positivo positiva saiu evasao desligado desligada perdido perdida abandono abandonou ruim mau ma golpe
    devedor devedora calote erro morto morta morreu obito alto alta risco grave perigoso perigosa roubo furto acidente
    sinistro comprou clicou assinou converteu
    verdadero malo mala salio perdio muerto muerta murio enfermo enferma riesgo robo compro
    oui vrai vraie positif mauvais mauvaise parti partie perdu perdue mort morte malade risque vol achete
    vero vera cattivo cattiva uscito uscita malato malata rischio furto comprato
    ja wahr positiv schlecht krank tot gestorben verstorben verloren hoch gekauft
""")
POSITIVE_STEMS = (
    *("churn", "attrit", "cancel", "fraud", "malicious", "anomal", "abnormal", "default", "delinquen", "bankrupt"),
    *("insolven", "fail", "fault", "defect", "disease", "malign", "infect", "diabet", "poison", "toxic", "suspic", "relaps"),
    *("recurr", "readmi"),
    *("evadi", "desisti", "inadimpl", "atrasad", "falid", "falenc", "falh", "falec", "defeit", "quebrad", "avariad"),
    *("doen", "venen", "suspeit", "anormal", "reprovad"),
    *("impag", "moros", "averiad", "rechazad", "impaye", "malad", "escroquer", "truff", "malatt", "guast"),
    *("betrug", "betrueg", "kundig", "gekundig", "ausfall", "ausgefallen", "defekt", "kaputt", "krebs", "erkrank", "risik"),
)
NEGATIVE_WORDS = _split("""
    negative false absent good well healthy normal stay stayed stays retained existing loyal genuine legit legitimate ham
    clean safe ok okay fine intact working paid current edible control compliant stable solvent innocent authentic correct
    valid none nobody
    falso negativo negativa bom boa saudavel sadio sadia ficou permanece permaneceu retido retida fiel legitimo legitima
    genuino genuina limpo limpa seguro segura adimplente pago paga comestivel estavel conforme ausente
    bueno buena sano sana queda permanecio pagado vivo viva
    faux fausse bon bonne sain saine reste fidele vivant vivante paye payee
    buono buona fedele pagato rimasto rimasta
    falsch negativ gut gesund geblieben treu bezahlt lebend echt
""")
NEGATIVE_STEMS = ("benign",)
NEGATIONS = _split(
    "not no non without never free low nao sem nunca nenhum nenhuma livre baixo baixa sin ningun ninguno ninguna sans pas "
    "aucun aucune jamais senza nessun nessuno nessuna mai nein kein keine nicht ohne nie niedrig"
)
GLUED_NEGATIONS = ("un", "non", "not", "no", "nao", "in", "im", "dis", "des", "ab")  # unpaid, nonfraud, inactive
# yes, true, sim, verdadeiro, positive, oui, ja; no, não, false, nein
LETTERS = {"y": 1, "t": 1, "s": 1, "v": 1, "p": 1, "o": 1, "j": 1, "n": -1, "f": -1}
LETTER_PAIRS = ({"y", "n"}, {"t", "f"}, {"s", "n"}, {"v", "f"}, {"p", "n"}, {"o", "n"}, {"j", "n"})
SIDES = {"left", "right"}  # a side, not somebody who left
SIGNS = {"+": ["positive"], "-": ["negative"]}


def choose_positive(counts: Mapping[Label, int], names: Mapping[Label, str] | None = None) -> Label:
    """Return which of two labels is the positive one.

    Parameters
    ----------
    counts
        The two labels with their rows.
    names
        What people read for a label, where that is not the label itself.
    """
    labels: list[Label] = sorted(counts)
    numbers = [_as_number(label) for label in labels]
    if None not in numbers and min(numbers) <= 0 < max(numbers):  # 0 and 1, -1 and 1
        return labels[numbers.index(max(numbers))]
    readings = _read_pair(*(str((names or {}).get(label, label)) for label in labels))
    if readings[0] != readings[1]:
        return labels[readings.index(max(readings))]
    return min(reversed(labels), key=counts.__getitem__)


def explain_positive(positive: Label, other: Label, names: Mapping[Label, str] | None = None) -> str:
    """Say why a label is the positive one where nobody named it; empty if it would be the other one by itself."""
    by_itself = choose_positive({positive: 1, other: 2}, names), choose_positive({positive: 2, other: 1}, names)
    if by_itself == (other, other):
        return ""
    if by_itself == (positive, other):
        return "the rarer one"
    numbers = _as_number(positive), _as_number(other)
    return "it reads like it" if None in numbers else f"{positive!r} beside {other!r}"


def _as_number(label: Label) -> Any:
    try:
        return float(label)
    except ValueError:
        return None


def _read_pair(one: str, other: str) -> tuple[int, int]:
    """Return for each text 1 if it reads like the positive class, -1 like the negative one, 0 like neither."""
    words = [_words(one), _words(other)]
    pair = {" ".join(part) for part in words}
    if pair in LETTER_PAIRS:
        return LETTERS[words[0][0]], LETTERS[words[1][0]]
    if pair == SIDES:
        return 0, 0
    return _read(words[0], "".join(words[1])), _read(words[1], "".join(words[0]))


def _words(text: str) -> list[str]:
    """Return a text's words in small letters without accents: ``HighRisk`` and ``high-risk`` are the same two."""
    if text.strip() in SIGNS:
        return SIGNS[text.strip()]
    text = re.sub(r"n't\b", " not", text.replace("’", "'"), flags=re.IGNORECASE)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKD", text))
    plain = "".join(sign for sign in text if not unicodedata.combining(sign)).lower()
    return re.findall(r"[a-z]+|\d+", plain)


def _read(words: list[str], other: str) -> int:
    rest = [word for word in words if word not in NEGATIONS]
    reading = next((found for word in rest if (found := _read_word(word, other))), 0)
    if len(rest) == len(words):
        return reading
    return -reading or -1


def _read_word(word: str, other: str) -> int:
    if word in POSITIVE_WORDS or word.startswith(POSITIVE_STEMS):
        return 1
    if word in NEGATIVE_WORDS or word.startswith(NEGATIVE_STEMS):
        return -1
    for negation in GLUED_NEGATIONS:
        stem = word.removeprefix(negation)
        if stem != word and (known := _read_word(stem, other)):
            return -known
        if stem != word and stem == other:
            return -1
    return 0


def keep_positive(table: Table, standing: Contract | None, wanted: Label | None) -> Table:
    """Return the table with the classes in the order of an earlier model, unless the configuration names the positive one.

    A choice by rows or by words must not turn round between two trainings: callers know the probabilities by their places.

    Parameters
    ----------
    standing
        Of the model that is to be replaced; None if there is none.
    wanted
        What the configuration names.
    """
    turned = table.classes[::-1]
    if wanted is not None or standing is None or table.task != "binary":
        return table
    if standing.target != table.target.name or standing.classes != turned:
        return table
    said = (
        f"the positive class stays {turned[1]!r}, as in the model before; by itself it would be {turned[0]!r}: name the one "
        "that you mean in decision.positive"
    )
    return replace(table, classes=turned, class_names=table.class_names[::-1], warnings=(*table.warnings, said))


def describe_positive(
    label: Label, share: float, *, name: str = "", of: str = "the rows", chosen: bool = True, why: str = ""
) -> str:
    """Return the line for the terminal that says which class is the positive one.

    Parameters
    ----------
    name
        What people read for the label, if that is something else.
    share
        Its share of the rows, 0 to 1.
    of
        Which rows.
    chosen
        Whether this project chose it, and the user is told how to change it.
    why
        It did so; of ``explain_positive``.
    """
    digits = 0 if share >= 0.01 else 2
    reason = f", {why}" if why else ""
    cure = f"{reason}; change it with decision.positive" if chosen else ", as the configuration says"
    named = f"{name!r}, " if name and name != str(label) else ""
    return f"positive class: {label!r} ({named}{share * 100:.{digits}f} % of {of}){cure}"

"""The standard normal distribution's cumulative shares, by Cephes' ``ndtr`` (Moshier 1989) as SciPy computes them."""

from mlops_project.modeling.export.bins import add_polynomial
from mlops_project.modeling.export.graph import Graph

# Quotients of polynomials, highest power first: erf within 1, erfc from 1 to 8, erfc beyond.
ERF_T = (
    9.60497373987051638749e0,
    9.00260197203842689217e1,
    2.23200534594684319226e3,
    7.00332514112805075473e3,
    5.55923013010394962768e4,
)
ERF_U = (
    1.0,
    3.35617141647503099647e1,
    5.21357949780152679795e2,
    4.59432382970980127987e3,
    2.26290000613890934246e4,
    4.92673942608635921086e4,
)
ERFC_P = (
    2.46196981473530512524e-10,
    5.64189564831068821977e-1,
    7.46321056442269912687e0,
    4.86371970985681366614e1,
    1.96520832956077098242e2,
    5.26445194995477358631e2,
    9.34528527171957607540e2,
    1.02755188689515710272e3,
    5.57535335369399327526e2,
)
ERFC_Q = (
    1.0,
    1.32281951154744992508e1,
    8.67072140885989742329e1,
    3.54937778887819891062e2,
    9.75708501743205489753e2,
    1.82390916687909736289e3,
    2.24633760818710981792e3,
    1.65666309194161350182e3,
    5.57535340817727675546e2,
)
ROOT_HALF = 7.07106781186547524401e-1
FAR = 8.0  # beyond, the share is below 1e-29, which the library takes for 0 as well


def add_normal_share(graph: Graph, x: str) -> str:
    """Return the share of a normal distribution that lies below each number, in the shape of ``x``."""
    half, one = graph.constant(0.5), graph.constant(1.0)
    scaled = graph.add("Mul", x, graph.constant(ROOT_HALF))
    size = graph.add("Abs", scaled)
    square = graph.add("Mul", scaled, scaled)
    ratio = graph.add("Div", add_polynomial(graph, square, ERF_T), add_polynomial(graph, square, ERF_U))
    middle = graph.add("Add", half, graph.add("Mul", half, graph.add("Mul", scaled, ratio)))
    near = graph.add("Min", graph.add("Max", size, one), graph.constant(FAR))
    ratio = graph.add("Div", add_polynomial(graph, near, ERFC_P), add_polynomial(graph, near, ERFC_Q))
    tail = graph.add("Mul", graph.add("Exp", graph.add("Neg", graph.add("Mul", near, near))), ratio)
    tail = graph.add("Mul", half, tail)
    tail = graph.add("Where", graph.add("Greater", scaled, graph.constant(0.0)), graph.add("Sub", one, tail), tail)
    return graph.add("Where", graph.add("Less", size, one), middle, tail)

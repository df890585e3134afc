"""Exact export: the fitted scikit-learn pipeline as an ONNX model that answers the same, or an error.

Converters compute in float32 where scikit-learn does not; rows near a split then get another class. Here the graph follows
each library's own arithmetic (see ``docs/adr/0003-exact-export.md``), and ``check_parity`` proves it on every training run.
"""

from mlops_project.modeling.export.model import export_onnx
from mlops_project.modeling.export.parity import Parity, answer_held_out, check_parity, load_exported

__all__ = ["Parity", "answer_held_out", "check_parity", "export_onnx", "load_exported"]

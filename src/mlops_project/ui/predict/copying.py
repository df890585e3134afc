"""A case as code to copy: the same question with curl, with Python's own library, and with this package."""

import json
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from mlops_project.bundle import Bundle
from mlops_project.client.model_server import ModelServer
from mlops_project.ui.catalogue import KEY_VARIABLE, Model
from mlops_project.ui.reference import Row

DEFAULT_ADDRESS = "http://127.0.0.1:8000"  # of `mlops serve`
WIDTH = 100


def write_curl(model: Model, server: ModelServer | None, row: Row) -> str:
    """Return a command for a POSIX shell that asks the model server about a case; a key is named, never written.

    Parameters
    ----------
    model
        Whose answer.
    server
        That answers; None for the address at which one listens by default.
    row
        Feature name → value, as a form holds it.
    """
    body = json.dumps(_build_body(model, row), ensure_ascii=False)
    parts = [f"curl {shlex.quote(_write_address(model, server))}", "-H 'Content-Type: application/json'"]
    if server is not None and server.key:
        parts.append(f'-H "Authorization: Bearer ${KEY_VARIABLE}"')
    return " \\\n  ".join([*parts, f"-d {shlex.quote(body)}"])


def write_request(model: Model, server: ModelServer | None, row: Row) -> str:
    """Return the same in Python, without any package."""
    has_key = server is not None and bool(server.key)
    headers = '{"Content-Type": "application/json"}'
    if has_key:
        headers = f'{{"Content-Type": "application/json", "Authorization": f"Bearer {{os.environ[{KEY_VARIABLE!r}]}}"}}'
    return "\n".join(
        [
            *(["import json", "import os"] if has_key else ["import json"]),
            "from urllib.request import Request, urlopen",
            "",
            f"row = {_write_dict(row)}",
            f"body = {_write_body(model)}",
            f"request = Request({_write_address(model, server)!r}, json.dumps(body).encode(), {headers})",
            "print(json.load(urlopen(request)))",
        ]
    )


def write_python(bundle: Bundle, row: Row, trusted: Sequence[str] = ()) -> str:
    """Return Python that asks the model's files on this machine.

    Parameters
    ----------
    bundle
        The files.
    row
        Feature name → value, as a form holds it.
    trusted
        Types that the configuration trusts in a pipeline in Python.
    """
    method = "predict_proba" if bundle.contract.is_classification else "predict"
    known = bundle.metadata.uncertainty
    sure = "" if known is None else f"\nprint(model.{'predict_set' if known.sets is not None else 'predict_interval'}(case))"
    trusting = f", proof__trusted_types={list(trusted)!r}" if bundle.metadata.python is not None and trusted else ""
    return "\n".join(
        [
            "import pandas as pd",
            "",
            "import mlops_project as mlops",
            "",
            f"model = mlops.load({str(bundle.path)!r}{trusting})",
            f"case = pd.DataFrame([{_write_dict(row)}])",
            f"print(model.{method}(case)){sure}",
        ]
    )


def _write_address(model: Model, server: ModelServer | None) -> str:
    address = DEFAULT_ADDRESS if server is None else server.address.rstrip("/")
    return f"{address}/models/{quote(model.name, safe='')}/predict"


def _build_body(model: Model, row: Row) -> dict[str, Any]:
    return {"rows": [row], "uncertainty": True} if _says_how_sure(model) else {"rows": [row]}


def _write_body(model: Model) -> str:
    return '{"rows": [row], "uncertainty": True}' if _says_how_sure(model) else '{"rows": [row]}'


def _says_how_sure(model: Model) -> bool:
    return model.coverage is not None or model.uncertainty is not None


def _write_dict(row: Row) -> str:
    """Return a row as Python writes it, in lines of at most ``WIDTH`` characters where that is possible."""
    lines: list[str] = []
    for name, value in row.items():
        item = f"{name!r}: {value!r},"
        if lines and len(lines[-1]) + len(item) < WIDTH:
            lines[-1] += f" {item}"
        else:
            lines.append(f"    {item}")
    return "\n".join(["{", *lines, "}"])

"""The dashboards are complete, readable and in order."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.monitoring.files import DASHBOARDS, ROOT, WALKTHROUGH, Json, panels, queries, read_dashboard
from tests.monitoring.programs import find_program

GRAFANA = Path(__file__).with_name("grafana")
BUILD = ROOT / "build/grafana-schema"
UNITS = {"short", "reqps", "rowsps", "percentunit", "percent", "s", "bytes", "Bps", "wps", "cps", "cores"}
TITLES = {
    "mlflow-monitoring-dashboard": "MLflow & Model Server Monitoring",
    "capacity-dashboard": "Capacity",
    "model-quality-dashboard": "Model quality & drift",
}

every_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def test_all_dashboards_are_there():
    assert {path.stem: read_dashboard(path)["title"] for path in DASHBOARDS} == TITLES


def test_main_dashboard_has_every_expression_of_the_walkthrough():
    (path,) = [path for path in DASHBOARDS if path.stem == "mlflow-monitoring-dashboard"]
    written = [target["expr"] for panel in panels(read_dashboard(path)) for target in panel["targets"]]
    assert not set(WALKTHROUGH) - set(written)


def overlaps(one: Json, other: Json) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@every_dashboard
def test_panels_lie_on_the_grid_without_gaps_or_overlaps(path: Path):
    places = [panel["gridPos"] for panel in read_dashboard(path)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in itertools.combinations(places, 2) if overlaps(*pair)]
    for y in range(max(place["y"] + place["h"] for place in places)):
        covered = sum(place["w"] for place in places if place["y"] <= y < place["y"] + place["h"])
        assert covered == 24, f"{covered} of 24 columns are used in line {y}"


def test_overlap_is_found():
    place = {"x": 0, "y": 0, "w": 12, "h": 8}
    assert overlaps(place, {"x": 11, "y": 7, "w": 12, "h": 8})
    assert not overlaps(place, {"x": 12, "y": 0, "w": 12, "h": 8})
    assert not overlaps(place, {"x": 0, "y": 8, "w": 12, "h": 8})


@every_dashboard
def test_every_panel_explains_itself(path: Path):
    for panel in panels(read_dashboard(path)):
        place = f"{path.stem}: {panel['title']}"
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["description"].endswith("."), place
        assert defaults["unit"] in UNITS, place
        assert defaults["noValue"], place
        assert defaults["thresholds"]["steps"][0]["value"] is None, place
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"], place
            assert all(target["legendFormat"] for target in panel["targets"]), place


@every_dashboard
def test_panels_without_kubernetes_say_so(path: Path):
    """Under Compose there is neither cAdvisor nor kube-state-metrics nor node-exporter."""
    for panel in panels(read_dashboard(path)):
        if re.search(r"\b(container_|kube_|kubelet_|node_|node:)", " ".join(target["expr"] for target in panel["targets"])):
            assert "Empty under Docker Compose" in panel["description"], f"{path.stem}: {panel['title']}"


@every_dashboard
def test_identifiers_are_unique(path: Path):
    dashboard = read_dashboard(path)
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels(dashboard):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


@every_dashboard
def test_data_source_is_the_chosen_one(path: Path):
    dashboard = read_dashboard(path)
    for text in re.findall(r'"uid": "([^"]+)"', path.read_text(encoding="utf-8")):
        assert text in ("${datasource}", dashboard["uid"])
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == (
        ["datasource", "model", "metric"] if path.stem.startswith("model-") else ["datasource", "namespace", "pod"]
    )


@every_dashboard
def test_every_variable_is_known(path: Path):
    assert list(queries(path))  # raises for one that is not


@every_dashboard
def test_colours_are_told_apart_by_everybody(path: Path):
    """Okabe and Ito's palette (2008), made for colour-blind readers; no red beside green."""
    used = set(re.findall(r'"#[0-9A-Fa-f]{6}"', path.read_text(encoding="utf-8")))
    assert used <= {f'"#{colour}"' for colour in ("009E73", "E69F00", "D55E00", "56B4E9", "0072B2", "CC79A7")}


def test_dashboards_have_identifiers_of_their_own():
    uids = [read_dashboard(path)["uid"] for path in DASHBOARDS]
    assert len(set(uids)) == len(uids)


def install_schema() -> Path:
    """Install Grafana's types and the compiler into ``build/``, once; return the compiler."""
    npm = find_program("npm")
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted, there = GRAFANA / "package.json", BUILD / "package.json"
    compiler = BUILD / "node_modules/.bin/tsc"
    if not (compiler.exists() and there.exists() and there.read_bytes() == wanted.read_bytes()):
        shutil.copy(wanted, there)
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(command, cwd=BUILD, check=True, capture_output=True, timeout=240)
    return compiler


def check_types(compiler: Path, texts: dict[str, str]) -> str:
    """Return the compiler's complaints about these dashboards."""
    for file in BUILD.glob("*.ts"):
        file.unlink()
    for name in ("tsconfig.json", "schema.ts"):
        shutil.copy(GRAFANA / name, BUILD)
    for name, text in texts.items():
        code = f'import type {{ Dashboard }} from "./schema.ts";\nexport const dashboard: Dashboard = {text};\n'
        (BUILD / f"{name}.ts").write_text(code, encoding="utf-8")
    done = subprocess.run([compiler, "-p", BUILD], capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode == 0) == (not done.stdout)
    return done.stdout


def test_dashboards_fit_the_schema_of_grafana():
    compiler = install_schema()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in DASHBOARDS}
    assert check_types(compiler, texts) == ""
    broken = {
        "word": texts["capacity-dashboard"].replace('"drawStyle": "line"', '"drawStyle": "lines"', 1),
        "name": texts["capacity-dashboard"].replace('"gridPos"', '"gridpos"', 1),
        "kind": texts["capacity-dashboard"].replace('"colorMode": "value"', '"colorMode": 1', 1),
        "option": texts["capacity-dashboard"].replace('"wideLayout"', '"wideLayuot"', 1),
    }
    complaints = check_types(compiler, broken)
    assert all(f"{name}.ts" in complaints for name in broken), complaints

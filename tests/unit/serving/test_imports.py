import subprocess
import sys

HEAVY = {
    "mlflow",
    "sklearn",
    "pandas",
    "scipy",
    "pyarrow",
    "streamlit",
    "matplotlib",
    "joblib",
    "pickle5",
    "rich",
    "grpc",
    "google",
}


def test_server_imports_none_of_what_trained_the_model():
    script = "import sys, mlops_project.serve, mlops_project.serving.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"uvicorn", "orjson", "numpy"} <= loaded
    assert not HEAVY & loaded

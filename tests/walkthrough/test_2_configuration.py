from pathlib import Path

import mlops_project
from mlops_project.utils import load_config


def test_configs_yaml_stands_beside_the_code_and_has_the_guides_keys():
    assert (Path(mlops_project.__file__).parent / "configs.yaml").exists()
    config = load_config()
    assert config["test_size"] == config.test_size == 0.2
    assert config["random_state"] == 42
    assert {"n_estimators", "max_depth", "n_jobs"} <= config["model"]["params"].keys()
    assert config["paths"]["exported_model_dir"] == "artifacts/model"

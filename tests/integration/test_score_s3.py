"""`mlops score` from a bucket and into one."""

import json

import fsspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.errors import ConfigError
from mlops_project.scoring import inputs
from mlops_project.scoring.batch import Options, score_table
from tests.unit.conftest import tiny_bundle, tiny_contract, tiny_metadata, tiny_model

__all__ = ["tiny_bundle", "tiny_contract", "tiny_metadata", "tiny_model"]
pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def bucket(s3_endpoint, monkeypatch, tmp_path):
    """A new bucket: its address, the options, and the file system."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(inputs, "UNIT_ROWS", 20)
    options = {"key": "testing", "secret": "hunter2", "endpoint_url": s3_endpoint, "skip_instance_cache": True}
    system, name = fsspec.filesystem("s3", **options), f"score-{tmp_path.name.replace('_', '-')[:50].strip('-')}"
    system.mkdir(name)
    return f"s3://{name}", Options(storage_options=options, staging=tmp_path / "staging"), system


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"id": range(90), "x": np.random.default_rng(0).random(90)})


def read(system, url: str) -> pd.DataFrame:
    with system.open(url, "rb") as stream:
        return pd.read_parquet(stream) if url.endswith(".parquet") else pd.read_csv(stream)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_files_of_a_bucket_are_scored_into_it(tiny_bundle, bucket, frame, tmp_path, ending):
    place, options, system = bucket
    for name, rows in (("a", frame[:50]), ("b", frame[50:])):
        rows.to_csv(tmp_path / "t.csv", index=False) if ending == ".csv" else rows.to_parquet(tmp_path / "t.parquet")
        system.put_file(str(tmp_path / f"t{ending}"), f"{place}/in/{name}{ending}")
    done = score_table(f"{place}/in", f"{place}/out{ending}", tiny_bundle, options)
    scored = read(system, f"{place}/out{ending}")
    assert scored["id"].tolist() == frame["id"].tolist()
    np.testing.assert_allclose(scored["probability yes"], frame["x"], atol=1e-12)
    assert done.output.place == f"{place}/out{ending}"
    assert not list((tmp_path / "staging").iterdir())


def test_folder_in_a_bucket_has_its_manifest_last_and_takes_the_place_of_the_one_before(
    tiny_bundle, bucket, frame, tmp_path, monkeypatch
):
    place, options, system = bucket
    frame.to_parquet(tmp_path / "in.parquet")
    score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options)
    before = json.loads(system.cat_file(f"{place}/out/_manifest.json"))
    frame.assign(x=1 - frame["x"]).to_parquet(tmp_path / "in.parquet")
    sent: list[str] = []
    put_file = type(system)._put_file

    async def interrupted(own, source, target, **keywords):
        sent.append(target.rpartition("/")[2])
        if len(sent) == 2:
            raise OSError("the network is down")
        return await put_file(own, source, target, **keywords)

    monkeypatch.setattr(type(system), "_put_file", interrupted)
    with pytest.raises(ConfigError, match="cannot be written: the network is down; the same command goes on"):
        score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options)
    system.invalidate_cache()
    assert json.loads(system.cat_file(f"{place}/out/_manifest.json")) == before  # and all that it names is there
    assert {part["name"] for part in before["parts"]} <= {name.rpartition("/")[2] for name in system.find(f"{place}/out")}
    assert score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options).is_resumed
    assert sent[-1] == "_manifest.json"
    system.invalidate_cache()
    manifest = json.loads(system.cat_file(f"{place}/out/_manifest.json"))
    names = {name.rpartition("/")[2] for name in system.find(f"{place}/out")}
    assert names == {"_manifest.json", *(part["name"] for part in manifest["parts"])}
    scored = pd.concat([read(system, f"{place}/out/{part['name']}") for part in manifest["parts"]])
    np.testing.assert_allclose(scored["probability yes"], 1 - frame["x"], atol=1e-12)


def test_folder_in_a_bucket_that_holds_other_files_is_left_alone(tiny_bundle, bucket, frame, tmp_path):
    place, options, system = bucket
    system.pipe_file(f"{place}/out/notes.txt", b"mine")
    frame.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(ConfigError, match=r"holds files that `mlops score` did not write, such as notes\.txt"):
        score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options)
    assert [name.rpartition("/")[2] for name in system.find(f"{place}/out")] == ["notes.txt"]

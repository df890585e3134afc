"""`mlops score` from a bucket and into one."""

import errno
import json
import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.engines.local import LocalEngine
from mlops_project.errors import ConfigError, DataError
from mlops_project.scoring import inputs
from mlops_project.scoring.batch import Options, score_table
from mlops_project.scoring.stores import Note, ObjectStore
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


def list_names(system, url: str) -> set[str]:
    system.invalidate_cache()
    return {name.rpartition("/")[2] for name in system.find(url)}


def read_parts(system, url: str) -> pd.DataFrame:
    manifest = json.loads(system.cat_file(f"{url}/_manifest.json"))
    assert list_names(system, url) == {"_manifest.json", *(part["name"] for part in manifest["parts"])}
    return pd.concat([read(system, f"{url}/{part['name']}") for part in manifest["parts"]])


def break_puts(monkeypatch, system, good: int) -> list[str]:
    """Let so many files be sent, then none; return the list of the names that are sent."""
    sent: list[str] = []
    put_file = type(system)._put_file

    async def interrupted(own, source, target, **keywords):
        if len(sent) == good:
            raise OSError("the network is down")
        sent.append(target.rpartition("/")[2])
        return await put_file(own, source, target, **keywords)

    monkeypatch.setattr(type(system), "_put_file", interrupted)
    return sent


def test_folder_in_a_bucket_has_its_manifest_last_and_takes_the_place_of_the_one_before(
    tiny_bundle, bucket, frame, tmp_path, monkeypatch
):
    place, options, system = bucket
    frame.to_parquet(tmp_path / "in.parquet")
    score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options)
    before = json.loads(system.cat_file(f"{place}/out/_manifest.json"))
    frame.assign(x=1 - frame["x"]).to_parquet(tmp_path / "in.parquet")
    with pytest.MonkeyPatch.context() as patch:
        break_puts(patch, system, 3)
        with pytest.raises(ConfigError, match=r"cannot be written: the network is down; .* the same command goes on"):
            score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options)
    assert list_names(system, f"{place}/out") == {"_manifest.json", *(part["name"] for part in before["parts"])}
    assert json.loads(system.cat_file(f"{place}/out/_manifest.json")) == before
    named: list[int] = []
    pipe_file = type(system)._pipe_file

    async def look(own, path, data, **keywords):
        if path.endswith("_manifest.json"):
            parts = [part["name"] for part in json.loads(data)["parts"]]
            named.append(sum([await own._exists(f"{path.rpartition('/')[0]}/{part}") for part in parts]) - len(parts))
        return await pipe_file(own, path, data, **keywords)

    monkeypatch.setattr(type(system), "_pipe_file", look)
    assert score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options).is_resumed
    assert named == [0]  # all parts were there before the manifest
    np.testing.assert_allclose(read_parts(system, f"{place}/out")["probability yes"], 1 - frame["x"], atol=1e-12)
    assert not system.exists(f"{place}/.out.parts")


def test_run_goes_on_though_the_disk_of_its_machine_is_lost(tiny_bundle, bucket, frame, tmp_path):
    place, options, system = bucket
    frame.to_parquet(tmp_path / "in.parquet")
    source = str(tmp_path / "in.parquet")
    with pytest.MonkeyPatch.context() as patch:
        first = break_puts(patch, system, 5)
        with pytest.raises(ConfigError, match="the network is down"):
            score_table(source, f"{place}/out", tiny_bundle, options)
    shutil.rmtree(options.staging)
    with pytest.MonkeyPatch.context() as patch:
        second = break_puts(patch, system, 99)
        assert score_table(source, f"{place}/out", tiny_bundle, options).is_resumed
    done = [name for name in first if name.endswith(".json")]
    assert len(done) == 2
    assert not {*done} & {*second}  # nor is a part made again that had its note
    assert read_parts(system, f"{place}/out")["id"].tolist() == frame["id"].tolist()


class Elsewhere(LocalEngine):
    """Its processes are as those of other machines: the model is sent, and they look for the folders."""

    is_here = False


class _InterruptedError(Exception):
    pass


def test_rows_of_a_run_that_may_stop_are_in_the_log_when_the_bucket_has_the_output(tiny_bundle, bucket, frame, tmp_path):
    place, options, system = bucket
    log = tmp_path / "log"
    options = replace(options, engine=Elsewhere(), processes=1, log_folder=log, on_bad_rows="stop")
    arguments = (f"{place}/in.parquet", f"{place}/out", tiny_bundle, options)

    def send(rows: pd.DataFrame) -> None:
        rows.to_parquet(tmp_path / "t.parquet", index=False)
        system.put_file(str(tmp_path / "t.parquet"), f"{place}/in.parquet")

    send(frame.assign(x=frame["x"].where(frame["id"] != 70)))
    with pytest.raises(DataError, match="row 71"):
        score_table(*arguments)
    assert not list(log.glob("*.log"))
    send(frame)

    def stop(state) -> None:
        if state.rows > 30:
            raise _InterruptedError

    with pytest.raises(_InterruptedError):
        score_table(*arguments, stop)
    assert not list(log.glob("*.log"))
    shutil.rmtree(tmp_path / "staging")  # the machine's disk is lost, the log's volume is not
    done = score_table(*arguments)
    assert done.is_resumed
    assert done.outcome.scored == len(list(log.glob("*.log"))) * 18 == 90
    assert not [item.name for item in log.iterdir() if item.is_dir() or item.name.endswith(".new")]
    assert read_parts(system, f"{place}/out")["prediction id"].is_unique


def test_of_two_processes_with_one_unit_the_first_counts(bucket):
    place, options, system = bucket
    store = ObjectStore(f"{place}/.out.parts", options.storage_options)
    for text in (b"first", b"again"):
        with store.write_part("part-0.csv") as stream:
            stream.write(text)
    assert system.cat_file(f"{place}/.out.parts/part-0.csv") == b"first"
    note = store.finish("part-0", Note("part-0.csv", 0, 3, 3))
    assert store.claim_time("part-0") == store.claim_time("part-0")
    assert store.list_done() == {"part-0"}
    assert store.find_note("part-0") == note
    assert note.size_bytes == 5
    store.clear()
    assert store.list_done() == set()


def test_store_that_knows_no_conditions_is_written_to(bucket, monkeypatch):
    place, options, system = bucket
    put_file = type(system)._put_file

    async def without_conditions(own, source, target, mode="overwrite", **keywords):
        if mode == "create":
            raise OSError(errno.ENOSYS, "A header you provided implies functionality that is not implemented")
        return await put_file(own, source, target, **keywords)

    monkeypatch.setattr(type(system), "_put_file", without_conditions)
    store = ObjectStore(f"{place}/.out.parts", options.storage_options)
    with store.write_part("part-0.csv") as stream:
        stream.write(b"text")
    assert system.cat_file(f"{place}/.out.parts/part-0.csv") == b"text"


def test_folder_in_a_bucket_that_holds_other_files_is_left_alone(tiny_bundle, bucket, frame, tmp_path):
    place, options, system = bucket
    system.pipe_file(f"{place}/out/notes.txt", b"mine")
    frame.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(ConfigError, match=r"holds files that `mlops score` did not write, such as notes\.txt"):
        score_table(str(tmp_path / "in.parquet"), f"{place}/out/", tiny_bundle, options)
    assert [name.rpartition("/")[2] for name in system.find(f"{place}/out")] == ["notes.txt"]

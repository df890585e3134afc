import pytest

from mlops_project.errors import BundleError, ConfigError
from mlops_project.tracking.served import ServedFolder, build_folder_name, parse_number

DIGEST = "0123456789abcdef" * 4


def build_version(folder: ServedFolder, number: int) -> str:
    name = build_folder_name(number, DIGEST)
    path = folder.path / "versions" / name
    path.mkdir(parents=True)
    (path / "metadata.json").touch()
    return name


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../other", "a/b", "/etc", "a:b", ".hidden", "a\0b", "a\nb"])
def test_name_that_would_leave_the_folder_or_hide_in_it_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be a model's name"):
        ServedFolder(tmp_path, name)


@pytest.mark.parametrize("name", ["iris", "my model", "modèle (2)", "a..b", "-rf", "\\", "*"])
def test_odd_name_is_a_folder_of_its_own(tmp_path, name):
    folder = ServedFolder(tmp_path, name)
    with folder.lock():
        folder.write_status("", None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("digest", ["", "abc", "../" * 22, DIGEST.upper(), DIGEST + "\n"])
def test_digest_that_is_no_sha256_makes_no_folder_name(digest):
    with pytest.raises(BundleError, match="expected a sha256"):
        build_folder_name(1, digest)


def test_folder_name_holds_number_and_twelve_digits():
    assert build_folder_name(12, DIGEST) == "12-0123456789ab"
    assert parse_number("12-0123456789ab") == 12
    assert parse_number(None) is None


@pytest.mark.parametrize("target", ["elsewhere", "../versions/1-0123456789ab", "/versions/1-0123456789ab", "versions/latest"])
def test_link_that_leads_elsewhere_counts_as_none(tmp_path, target):
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "champion").symlink_to(target)
    assert ServedFolder(tmp_path, "iris").find_link("champion") is None


def test_link_is_relative_and_can_be_switched_and_removed(tmp_path):
    folder = ServedFolder(tmp_path, "iris")
    one, two = build_version(folder, 1), build_version(folder, 2)
    for name in (one, two):
        folder.switch_link("champion", name)
        assert folder.find_link("champion") == name
        assert str((folder.path / "champion").readlink()) == f"versions/{name}"
    folder.remove_link("champion")
    folder.remove_link("champion")
    assert folder.find_link("champion") is None


def test_pruning_keeps_what_is_pointed_to_and_asked_for_and_what_is_not_ours(tmp_path):
    folder = ServedFolder(tmp_path, "iris")
    names = [build_version(folder, number) for number in (1, 2, 3, 4)]
    (folder.path / "versions" / "notes").mkdir()
    (folder.path / "mine.txt").touch()
    (folder.path / ".sync-left").mkdir()
    (folder.path / ".sync-champion").symlink_to("nowhere")
    folder.switch_link("champion", names[3])
    (folder.path / "pinned").symlink_to(f"versions/{names[0]}")
    folder.prune(names[1], None)
    assert {path.name for path in (folder.path / "versions").iterdir()} == {names[0], names[1], names[3], "notes"}
    assert {path.name for path in folder.path.iterdir()} == {"versions", "champion", "pinned", "mine.txt"}


def test_status_can_be_read_again_and_a_damaged_one_counts_as_none(tmp_path):
    folder = ServedFolder(tmp_path, "iris")
    assert folder.read_status() is None
    folder.path.mkdir()
    folder.write_status("no answer", "3-0123456789ab", None, "2-0123456789ab")
    status = folder.read_status()
    assert (status.result, status.message) == ("error", "no answer")
    assert (status.champion, status.challenger, status.previous) == (3, None, "2-0123456789ab")
    (folder.path / "sync.json").write_text('{"time": ')
    assert folder.read_status() is None


def test_placing_over_a_damaged_version_replaces_it(tmp_path):
    folder = ServedFolder(tmp_path, "iris")
    name = build_version(folder, 1)
    (folder.path / "versions" / name / "damaged").touch()
    with folder.stage() as staged:
        staged.mkdir()
        (staged / "metadata.json").write_text("whole")
        folder.place(staged, name)
    assert [path.name for path in folder.find_version(name).iterdir()] == ["metadata.json"]

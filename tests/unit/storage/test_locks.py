import threading

from mlops_project.storage.locks import locked, try_lock


def test_lock_is_held_by_one_at_a_time_and_given_back_with_the_file(tmp_path):
    file = tmp_path / "lock"
    with file.open("ab") as first, file.open("ab") as second:
        assert try_lock(first)
        assert not try_lock(second)
        first.close()
        assert try_lock(second)


def test_block_waits_for_the_lock_and_makes_its_folder(tmp_path):
    file, order, begun = tmp_path / "folder" / "lock", [], threading.Event()

    def wait() -> None:
        begun.set()
        with locked(file):
            order.append("second")

    with locked(file):
        other = threading.Thread(target=wait)
        other.start()
        assert begun.wait(10)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]

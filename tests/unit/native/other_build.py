"""``python -m tests.unit.native.other_build LIBRARY``: the tests of the shared object, with another build of it."""

import sys
import tempfile
from pathlib import Path

from mlops_project.native import images, library
from tests.unit.native import test_images, test_model, test_table


def main() -> None:
    library.LIBRARY = Path(sys.argv[1])
    assert library.load_library() is not None
    for kind in test_model.KINDS:
        for labels in (False, True):
            test_model.compare(11, kind, labels=labels)
    test_model.test_one_row_in_bound_memory_gives_the_same_bits()
    test_model.test_damaged_files_are_refused_or_answered_and_never_end_the_process()
    for name in ("tree_roots", "nodes_featureids", "nodes_truenodeids", "leaf_targetids"):
        test_model.test_number_outside_its_array_is_left_to_onnx_runtime(name, 2**40)
    test_model.test_nodes_in_a_circle_or_of_two_parents_are_left_to_onnx_runtime()
    images.LEAST_BYTES = 1
    with tempfile.TemporaryDirectory() as folder:
        test_images.test_ensemble_in_a_file_gives_the_bits_of_one_that_was_built(Path(folder), "mixed", labels=True)
        test_images.test_damaged_file_is_refused_or_answered_and_never_ends_the_process(Path(folder))
    test_table.test_numbers_have_the_bits_that_python_gives_them()
    test_table.test_a_table_is_read_in_each_form_and_with_blanks()
    test_table.test_what_is_not_plain_is_declined()
    test_table.test_many_different_texts_keep_their_places()
    test_table.test_damaged_bodies_are_declined_or_read_as_python_reads_them()
    print("evaluated")


if __name__ == "__main__":
    main()

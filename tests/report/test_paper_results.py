"""The paper's results as data: complete, consistent with each other, slips footnoted."""

import numpy as np
import pytest

from civa.pipeline.runs import METHODS
from civa.report.paper_results import CLASSES, PLACES, TABLES

TABLE = {table.name: table for table in TABLES}


def test_five_tables_with_known_methods_and_places() -> None:
    assert list(TABLE) == ["table1", "table2", "table3", "table4", "table5"]
    for table in TABLES:
        assert set(table.places) <= set(PLACES)
        assert set(table.printed) == set(table.places)
        for place in table.places:
            assert set(table.printed[place]) == set(table.methods) <= set(METHODS)


def test_rows_by_class_have_one_score_for_each() -> None:
    for name in ("table1", "table2"):
        assert TABLE[name].by_class
        for place, rows in TABLE[name].printed.items():
            assert all(len(row) == 1 + len(CLASSES[place]) for row in rows.values())


def test_means_are_those_of_the_class_columns_but_for_the_footnoted_slip() -> None:
    for place, rows in TABLE["table1"].printed.items():
        for method, (miou, *classes) in rows.items():
            if abs(np.mean(classes) - miou) > 0.1:
                assert "average 15.0" in TABLE["table1"].slips[place, method]
                assert np.mean(classes) == pytest.approx(15.0, abs=0.05)


def test_means_of_the_real_set_weigh_classes_by_their_test_images() -> None:
    for miou, *classes in TABLE["table2"].printed["real"].values():
        assert np.average(classes, weights=[94, 9, 10]) == pytest.approx(miou, abs=0.1)


def test_tables_agree_with_each_other_but_for_the_footnoted_slip() -> None:
    for place in PLACES:
        for method in ("gradcam", "iva", "crf"):
            first = "table2" if place == "real" else "table1"
            values = {TABLE[name].value(place, method, "miou") for name in (first, "table4")}
            if len(values) > 1:
                assert "67.8" in TABLE["table4"].slips[place, method]
        assert TABLE["table5"].value(place, "iva", "miou") == TABLE["table4"].value(
            place, "iva", "miou"
        )


def test_what_the_paper_does_not_print_is_not_a_number() -> None:
    assert np.isnan(TABLE["table1"].value("snr003", "crf", "class_miou"))
    assert np.isnan(TABLE["table1"].value(None, "crf", "miou"))
    assert np.isnan(TABLE["table3"].value("snr003", "gradcam", "miou"))
    assert TABLE["table3"].value("real", "voxresnet_full", "miou") == 89.8

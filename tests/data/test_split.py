"""The split, with whole tomograms too, and wrong labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.particles import PARTS, read_particles
from civa.data.split import mislabel, split_counts, stratified_split
from civa.stages import split

PAPER = (0.70, 0.15, 0.15)


def test_split_counts_of_the_paper() -> None:
    # Sec. 5: 1000 volumes of a class; 15 % of 1000 = 150 twice, the rest trains
    assert split_counts(1000, PAPER, name="a") == [700, 150, 150]
    # 0.15 x 7 = 1.05 rounds to 1 twice, 5 remain
    assert split_counts(7, PAPER, name="a") == [5, 1, 1]


def test_every_class_is_split_by_itself() -> None:
    classes = ["rare"] * 20 + ["common"] * 200  # 10:1
    parts = stratified_split(classes, PAPER, seed=3)
    counts = pd.crosstab(pd.Series(classes), pd.Series(parts))
    assert counts.loc["rare", list(PARTS)].tolist() == [14, 3, 3]
    assert counts.loc["common", list(PARTS)].tolist() == [140, 30, 30]


def test_the_split_depends_on_the_seed_alone() -> None:
    classes = ["a"] * 40 + ["b"] * 40
    first = stratified_split(classes, PAPER, seed=1)
    np.testing.assert_array_equal(first, stratified_split(classes, PAPER, seed=1))
    assert (first != stratified_split(classes, PAPER, seed=2)).any()
    # shuffled: taking the first 70 % would leave the table's order in the parts
    assert first[:28].tolist() != ["train"] * 28


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)]
)
def test_shares_that_are_none_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="split fractions must be three positive shares of 1"):
        stratified_split(["a"] * 20, fractions, seed=1)


@pytest.mark.parametrize("n", [1, 2, 3])  # 0.15 x 3 = 0.45 rounds to 0
def test_a_class_too_small_for_three_parts_is_named(n: int) -> None:
    with pytest.raises(ValueError, match=f"class 'rare' has {n} volumes: too few"):
        stratified_split(["rare"] * n + ["a"] * 20, PAPER, seed=1)


def tomograms_of(rows: dict[str, dict[str, int]]) -> tuple[list[str], list[str]]:
    """Return class and tomogram of every volume from tomogram -> class -> number of volumes."""
    pairs = [
        (name, tomogram)
        for tomogram, classes in rows.items()
        for name, count in classes.items()
        for _ in range(count)
    ]
    return [name for name, _ in pairs], [tomogram for _, tomogram in pairs]


def test_a_split_without_tomograms_is_the_one_it_always_was() -> None:
    # drawn by the code from before there were tomograms
    parts = stratified_split(["a"] * 12 + ["b"] * 8, PAPER, seed=1)
    assert np.flatnonzero(parts == "validation").tolist() == [2, 10, 16]
    assert np.flatnonzero(parts == "test").tolist() == [3, 6, 14]


def test_volumes_of_one_tomogram_stay_together() -> None:
    generator = np.random.default_rng(0)
    classes = generator.choice(["a", "b", "c"], 900, p=[0.6, 0.3, 0.1])
    tomograms = generator.integers(0, 40, 900).astype(str)
    parts = stratified_split(classes, PAPER, seed=1, tomograms=tomograms)
    assert pd.Series(parts).groupby(tomograms).nunique().max() == 1
    shares = pd.crosstab(classes, parts, normalize="index")[list(PARTS)]
    # tomograms hold 1/40 of the volumes: exchanges come far nearer to the shares than one of them
    np.testing.assert_allclose(shares, np.tile(PAPER, (3, 1)), atol=1 / 80)
    again = stratified_split(classes, PAPER, seed=1, tomograms=tomograms)
    np.testing.assert_array_equal(parts, again)
    assert (parts != stratified_split(classes, PAPER, seed=2, tomograms=tomograms)).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_one_division_of_tomograms_that_has_the_shares_is_found(seed: int) -> None:
    # Shares of 1/2, 1/4 and 1/4 of 40 a and 24 b: only {t1, t4}, {t2} and {t3, t5} have 20, 10, 10
    # of a and 12, 6, 6 of b (t2 and t3 + t5 may change places).
    rows = {
        "t1": {"a": 13, "b": 1},
        "t2": {"a": 10, "b": 6},
        "t3": {"a": 3, "b": 5},
        "t4": {"a": 7, "b": 11},
        "t5": {"a": 7, "b": 1},
    }
    classes, tomograms = tomograms_of(rows)
    parts = stratified_split(classes, (0.5, 0.25, 0.25), seed=seed, tomograms=tomograms)
    part_of = dict(zip(tomograms, parts, strict=True))
    assert part_of["t1"] == part_of["t4"] == "train"
    assert part_of["t3"] == part_of["t5"] != part_of["t2"]
    assert {part_of["t2"], part_of["t3"]} == {"validation", "test"}


@pytest.mark.parametrize("seed", range(5))
def test_every_class_reaches_every_part_even_where_shares_suffer(seed: int) -> None:
    # The rare class lies in three tomograms of very unlike size: one must go to each part.
    rows = {"big": {"a": 300, "rare": 20}, "mid": {"a": 50, "rare": 2}, "low": {"rare": 2}}
    rows |= {f"t{i}": {"a": 20} for i in range(10)}
    classes, tomograms = tomograms_of(rows)
    parts = stratified_split(classes, PAPER, seed=seed, tomograms=tomograms)
    assert set(parts[np.array(classes) == "rare"]) == set(PARTS)
    assert set(parts[np.array(tomograms) == "big"]) == {"train"}


def test_a_class_of_too_few_tomograms_is_named_with_them() -> None:
    rows = {f"t{i}": {"common": 10} for i in range(8)}
    rows["t3"] |= {"rare": 30}
    rows["t5"] |= {"rare": 30}
    classes, tomograms = tomograms_of(rows)
    message = r"class 'rare' comes from 2 tomograms \(t3, t5\): too few .*add tomograms of it"
    with pytest.raises(ValueError, match=message):
        stratified_split(classes, PAPER, seed=1, tomograms=tomograms)


def test_tomograms_that_cannot_be_divided_are_refused() -> None:
    # Any two of the four share a class that comes from three, so no two may be in one part.
    rows = {
        "t1": {"a": 9, "b": 9, "c": 9},
        "t2": {"a": 9, "b": 9, "d": 9},
        "t3": {"a": 9, "c": 9, "d": 9},
        "t4": {"b": 9, "c": 9, "d": 9},
    }
    classes, tomograms = tomograms_of(rows)
    message = r"no way was found to divide 4 tomograms .*'[a-d]', which comes from 3 tomograms \(t"
    with pytest.raises(ValueError, match=message):
        stratified_split(classes, PAPER, seed=1, tomograms=tomograms)


def test_the_stage_keeps_tomograms_together_and_says_what_became_of_the_shares(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # 20 tomograms of 5 volumes of a and 1 of b; 007 and 7 are two of them
    lines = [
        f"{name}{row},{name[0]},{tomogram}"
        for row, tomogram in enumerate(["007", "7", *(f"t{i}" for i in range(18))])
        for name in ("a1-", "a2-", "a3-", "a4-", "a5-", "b-")
    ]
    particles = tmp_path / "particles.csv"
    particles.write_text("\n".join(["id,class,tomogram", *lines]) + "\n")
    with caplog.at_level("INFO", logger="civa"):
        split.run(particles, out=tmp_path / "split.csv")
    found = pd.read_csv(tmp_path / "split.csv", dtype=str)
    assert list(found.columns) == ["id", "class", "part"]
    tomograms = read_particles(particles)["tomogram"]
    assert found["part"].groupby(tomograms).nunique().tolist() == [1] * 20
    # 0.15 x 100 = 15 of a and 0.15 x 20 = 3 of b: three whole tomograms
    assert "volumes of each of 20 tomograms stay together" in caplog.text
    assert "class a: 70 train, 15 validation, 15 test" in caplog.text
    assert "class b: 14 train, 3 validation, 3 test" in caplog.text


def test_a_share_of_every_class_is_mislabelled_among_the_members_alone() -> None:
    classes = ["a"] * 40 + ["b"] * 20 + ["c"] * 20
    members = np.arange(0, 80, 2)  # 20, 10 and 10
    told = mislabel(classes, members, 0.2, seed=1)
    wrong = told != np.array(classes)
    assert not wrong[1::2].any()
    assert [int(wrong[part].sum()) for part in (slice(40), slice(40, 60), slice(60, 80))] == [
        4,
        2,
        2,
    ]
    assert set(told) == {"a", "b", "c"}
    np.testing.assert_array_equal(told, mislabel(classes, members, 0.2, seed=1))
    assert (told != mislabel(classes, members, 0.2, seed=2)).any()
    assert mislabel(classes, members, 0.0, seed=1).tolist() == classes


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_wrong_labels_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"label_noise must lie in 0 \.\. 1, 1 excluded \(got"):
        mislabel(["a", "b"], np.arange(2), share, seed=1)


def test_a_single_class_cannot_be_mislabelled() -> None:
    with pytest.raises(ValueError, match="there is no class beside 'a'"):
        mislabel(["a", "a"], np.arange(2), 0.5, seed=1)

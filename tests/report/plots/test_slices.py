"""Figures of slices show what they are given, without a display."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text

from civa.report.plots.slices import (
    FOUND_COLOUR,
    TRUTH_COLOUR,
    Example,
    centre,
    comparison,
    overview,
    shortened,
)

SHAPE = (6, 7, 8)


def truth(section: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1, 2:4, 2:4] = True
    mask[section, 2:6, 2:6] = True
    return mask


def example(title: str = "cage", mask: np.ndarray | None = None) -> Example:
    volume = np.random.default_rng(0).normal(size=SHAPE)
    cam = np.linspace(0, 1, volume.size).reshape(SHAPE)
    mask = truth() if mask is None else mask
    return Example(title, volume, mask, {"Grad-CAM": cam, "CRF": cam > 0.7})


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=20)
    return stream.getvalue()


def is_outline(child) -> bool:
    return isinstance(child, ContourSet)


def outlines(axis) -> int:
    return sum(is_outline(child) for child in axis.get_children())


def test_one_row_per_example_and_one_column_per_panel() -> None:
    figure = overview([example("cage"), example("barrel"), example("spike")])
    axes = np.array(figure.axes).reshape(3, 4)
    titles = [axis.get_title() for axis in axes[0]]
    assert titles == ["input", "ground truth", "Grad-CAM", "CRF"]
    assert [row[0].get_ylabel() for row in axes] == ["cage", "barrel", "spike"]
    assert png(figure).startswith(b"\x89PNG")


def test_section_is_the_one_that_shows_most_of_the_target() -> None:
    one = example()
    shown = overview([one]).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, one.volume[4])


def test_maps_are_coloured_and_masks_outlined() -> None:
    _, _, cam, mask = overview([example()]).axes
    assert [image.get_cmap().name for image in cam.images] == ["gray", "inferno"]
    assert [image.get_cmap().name for image in mask.images] == ["gray"]
    assert (outlines(cam), outlines(mask)) == (1, 2)  # the truth; the truth and the mask


def test_a_volume_without_a_mask_is_drawn_without_outline() -> None:
    figure = overview([example(mask=np.zeros(SHAPE, dtype=bool))])
    assert outlines(figure.axes[1]) == 0
    assert png(figure).startswith(b"\x89PNG")


def test_constant_volumes_are_drawn_too() -> None:
    flat = Example("flat", np.zeros(SHAPE), truth(), {"map": np.zeros(SHAPE)})
    assert png(overview([flat])).startswith(b"\x89PNG")


def test_figures_need_no_display() -> None:
    assert mpl.get_backend().lower() == "agg"


def test_panels_of_all_examples_must_match() -> None:
    other = Example("other", np.zeros(SHAPE), truth(), {"Grad-CAM": np.zeros(SHAPE)})
    with pytest.raises(ValueError, match="shorter"):
        overview([example(), other])


def compared(title: str = "best", **changes) -> Example:
    """An example whose last mask is the truth, one voxel further along x."""
    panels = {"Grad-CAM": np.zeros(SHAPE, dtype=bool), "CIVA-Net": np.roll(truth(), 1, axis=2)}
    volume = np.random.default_rng(0).normal(size=SHAPE)
    return Example(title, volume, **{"truth": truth(), "panels": panels, **changes})


def words(figure: Figure) -> list[str]:
    """All that is written on a figure, also into its panels and its legend."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_a_comparison_has_three_slices_per_panel_and_a_heading_per_block() -> None:
    figure = comparison(
        {"cage: 3": [compared("best"), compared("worst")], "spike: 1": [compared()]}
    )
    assert len(figure.axes) == 3 * 4 * 3
    written = words(figure)
    assert [written.count(word) for word in ("cage: 3", "spike: 1", "best", "worst")] == [
        1,
        1,
        2,
        1,
    ]
    assert [written.count(word) for word in ("input", "Grad-CAM", "CIVA-Net")] == [2, 2, 2]
    assert png(figure).startswith(b"\x89PNG")


def test_slices_run_through_the_middle_of_the_target_across_every_axis() -> None:
    one = compared()
    assert np.argwhere(one.truth).mean(axis=0).tolist() == [3.4, 3.3, 3.3]
    z, y, x = 4, 3, 3  # its two parts lie in z = 1 and z = 4, their centre at z = 3.4
    shown = [axis.images[0].get_array() for axis in comparison({"cage": [one]}).axes[:3]]
    sections = (one.volume[z], one.volume[:, y], one.volume[:, :, x])
    for image, section in zip(shown, sections, strict=True):
        np.testing.assert_array_equal(image, section.astype(np.float32))


def test_only_the_input_is_shown_as_it_is() -> None:
    one = compared()
    axes = comparison({"cage": [one]}).axes
    spread = [float(np.std(axis.images[0].get_array())) for axis in axes[::3]]
    assert spread[0] > 1.5 * spread[1]
    assert spread[1:] == pytest.approx([spread[1]] * 3)


def test_truth_is_green_and_what_was_found_is_orange() -> None:
    axes = comparison({"cage": [compared()]}).axes
    colours = [
        [to_hex(child.get_edgecolor()[0]) for child in axis.get_children() if is_outline(child)]
        for axis in axes[::3]
    ]
    green, orange = TRUTH_COLOUR, FOUND_COLOUR
    assert colours == [[], [green], [green], [green, orange]]  # the Grad-CAM mask is empty


@pytest.mark.parametrize(
    ("changes", "remark", "times"),
    [
        ({}, "no mask", 3),
        ({"truth": np.zeros(SHAPE, dtype=bool)}, "no ground truth", 3),
        ({"panels": {"CRF": np.arange(6)[:, None, None] < np.ones(SHAPE)}}, "not in this slice", 1),
    ],
)
def test_a_slice_without_an_outline_says_why(changes: dict, remark: str, times: int) -> None:
    assert words(comparison({"cage": [compared(**changes)]})).count(remark) == times


def test_without_truth_slices_run_through_our_mask_and_else_through_the_box() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    ours = nothing.copy()
    ours[1, 5, 6] = True
    assert centre(compared(truth=nothing, panels={"CAM": truth(), "CRF": ours})) == (1, 5, 6)
    assert centre(compared(truth=nothing, panels={"CRF": nothing})) == (3, 3, 4)


def test_blocks_without_an_example_are_left_out() -> None:
    figure = comparison({"cage": [], "spike": [compared()]})
    assert "cage" not in words(figure)
    assert any("no class has a test image" in text for text in words(comparison({"cage": []})))


def test_text_beside_the_slices_does_not_run_into_them() -> None:
    figure = comparison(
        {"cage": [compared("smallest mask\ntomogram…cle_00001\n(Grad-CAM 99.9 %)")]}
    )
    FigureCanvasAgg(figure).draw()
    title = next(text for text in figure.texts if text.get_text().startswith("smallest"))
    assert title.get_window_extent().x1 < figure.axes[0].get_window_extent().x0
    assert title.get_window_extent().x0 >= 0


@pytest.mark.parametrize("length", [3, 4, 8, 9])
def test_shortened_text_has_the_length_asked_for(length: int) -> None:
    text = shortened("tomogram_01", length)
    assert len(text) == length
    assert text[0] + text[-1] == "t1"
    assert shortened("tomogram_01", 11) == "tomogram_01"

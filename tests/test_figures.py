"""The overview figure draws what it is given, without a display."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from civa.figures import Example, overview

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


def outlines(axis) -> int:
    return sum(isinstance(child, ContourSet) for child in axis.get_children())


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

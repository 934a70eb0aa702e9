"""From O to the segmentation: proposals, and their choice by the CAM (Sec. 4.6)."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-neighbourhood


def proposals(segmentation: NDArray, threshold: float) -> tuple[NDArray[np.int32], int]:
    """Split the thresholded O into its connected components O_b (26-neighbourhood).

    Parameters
    ----------
    segmentation
        (d, h, w) O in [0, 1].
    threshold
        Voxels above it are foreground.

    Returns
    -------
    (d, h, w) number of the proposal of every voxel, 0 for none, and how many there are.
    """
    components, count = ndimage.label(segmentation > threshold, structure=TOUCHING)
    return components.astype(np.int32, copy=False), count


def choose_proposal(
    components: NDArray[np.int32], count: int, cam_mask: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Choose the proposal of highest IoU with the binarised CAM (Sec. 4.6).

    Parameters
    ----------
    components, count
        From `proposals`.
    cam_mask
        (d, h, w) binarised Grad-CAM of the predicted class.

    Returns
    -------
    (d, h, w) booleans: the chosen proposal; the largest one where none meets the CAM;
    nothing where there is no proposal.
    """
    if count == 0:
        return np.zeros(components.shape, dtype=bool)
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    shared = np.bincount(components[cam_mask], minlength=count + 1)[1:]
    overlap = shared / (sizes + np.count_nonzero(cam_mask) - shared)
    best = overlap.argmax() if overlap.max() > 0 else sizes.argmax()
    return components == best + 1


def segment(
    segmentations: NDArray, cam_masks: NDArray[np.bool_], threshold: float
) -> NDArray[np.bool_]:
    """Apply `proposals` and `choose_proposal` to a stack (n, d, h, w)."""
    pairs = zip(segmentations, cam_masks, strict=True)
    masks = [choose_proposal(*proposals(o, threshold), cam) for o, cam in pairs]
    return np.stack(masks) if masks else np.zeros(segmentations.shape, dtype=bool)

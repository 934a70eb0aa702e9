"""What speaks against an average: each doubt with its figure, and what to do."""

from numpy.typing import NDArray

from civa.consensus.averaging import AGREEING, Average
from civa.consensus.classification import FEWEST
from civa.consensus.heterogeneity import ALIKE, STABLE, Split
from civa.consensus.reconstruction import shape_share
from civa.consensus.subtomograms import Optics, Setup

LEAST = {  # figures below which an average is not to be trusted
    "agreement": 0.8,  # correlation of the starts
    "half_sets": AGREEING,  # their correlation, beyond the shells that they share
    "shape": 0.05,  # share of the power that is not in the radial mean
}


def doubts(average: Average, optics: Optics, window: NDArray, *, of: int) -> list[str]:
    """Say what speaks against an average, with the figure and what to do; often nothing.

    ``of`` is the number of volumes of its class.
    """
    found = []
    n = len(average.members)
    if n < FEWEST:
        found.append(
            f"{n} volumes are too few to average (expected {FEWEST} or more): trust the network's "
            "masks, not the aligned ones"
        )
    if average.agreement < LEAST["agreement"]:
        found.append(
            f"averages from different starts correlate at {average.agreement:.2f} (expected "
            f"{LEAST['agreement']} or more): the alignment did not converge; add volumes or "
            "starts, or look whether the class mixes structures"
        )
    found += _half_sets(average, optics)
    apart = average.apart
    if apart is not None:
        found.append(
            f"{n} of the class's {of} volumes are averaged by themselves: two averages of it "
            f"correlate at {apart.correlation:.2f} (one structure: {ALIKE:g} or more), in "
            f"partitions that correlate at {apart.stability:.2f} (by chance: {STABLE:g} or less); "
            "it mixes structures or conformations, or labels are wrong: look at the averages, and "
            "give each a class of its own"
        )
    share = shape_share(average.density, window)
    if share < LEAST["shape"]:
        found.append(
            f"{100 * share:.1f} % of the average's power is not in its radial mean (expected "
            f"{100 * LEAST['shape']:.0f} % or more): it is a featureless ball, so poses mean little"
        )
    return found


def _half_sets(average: Average, optics: Optics) -> list[str]:
    """Say so where the half-sets disagree, or where nothing is left to compare them by."""
    edge = len(average.density)
    shared = edge * optics.voxel_size_angstrom / average.shared_shell
    judged = [f"{one:.0f}" for one in _judged_angstrom(average, optics)]
    if not judged:
        return [
            f"boxes of {edge} voxels hold no shell beyond the {shared:.0f} Å that the half-sets "
            "share: nothing shows whether they agree, or whether the average is more than noise; "
            "use larger boxes"
        ]
    agreement = average.half_set_correlation
    if agreement >= LEAST["half_sets"]:
        return []
    return [
        f"the half-sets correlate at {agreement:.2f} at {' to '.join(dict.fromkeys(judged))} Å, "
        f"beyond the {shared:.0f} Å that they share (expected {LEAST['half_sets']} or more): the "
        "average may be noise; add volumes, or check the labels"
    ]


def _judged_angstrom(average: Average, optics: Optics) -> list[float]:
    """Resolutions in ångström of the first and last shell that half-sets are judged by, if any."""
    extent = len(average.density) * optics.voxel_size_angstrom
    shells = average.judged_shells
    return [round(float(extent / shells[end]), 1) for end in (0, -1) if len(shells)]


def _of_parent(apart: Split | None) -> list[float] | None:
    """Correlation and stability of what an average was set apart by, if it was."""
    return None if apart is None else [round(apart.correlation, 3), round(apart.stability, 3)]


def report(average: Average, setup: Setup, *, of: int) -> dict[str, object]:
    """What an average is like, in figures, and what speaks against it.

    Parameters
    ----------
    of
        Number of volumes of its class.
    """
    optics = setup.optics
    resolution, is_measured = average.resolution(optics)
    return {
        "of_volumes": of,
        "volumes": len(average.members),
        "resolution_angstrom": round(resolution, 1),
        "resolution_measured": is_measured,
        "half_sets": round(average.half_set_correlation, 3),
        "half_sets_angstrom": _judged_angstrom(average, optics),
        "shared_shell": average.shared_shell,
        "spread_shells": average.spread,
        "shared_angstrom": round(setup.extent_angstrom / average.shared_shell, 1),
        "agreement_of_starts": round(average.agreement, 3),
        "split_correlation": round(average.split.correlation, 3),
        "split_stability": round(average.split.stability, 3),
        "apart": _of_parent(average.apart),
        "last_turn_deg": round(average.movement_deg, 2),
        "shape_share": round(shape_share(average.density, setup.window), 3),
        "score_median": round(average.score, 3),
        "doubts": doubts(average, optics, setup.window, of=of),
    }

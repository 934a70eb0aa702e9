"""What speaks against an average: each doubt with its figure, and what to do."""

from numpy.typing import NDArray

from civa.consensus.averaging import COARSE_ANGSTROM, Average
from civa.consensus.classification import AGREEING, FEWEST
from civa.consensus.heterogeneity import ALIKE, STABLE
from civa.consensus.reconstruction import shape_share
from civa.consensus.subtomograms import Optics, Setup

LEAST = {  # figures below which an average is not to be trusted
    "agreement": 0.8,  # correlation of the starts
    "fsc": AGREEING,  # of half-sets, beyond the shells that they share
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
    shells = average.independent_shells(optics)
    extent = len(average.density) * optics.voxel_size_angstrom
    if not len(shells):
        return [
            f"the box of {extent:g} Å holds no shell beyond the {COARSE_ANGSTROM:g} Å that the "
            "half-sets share: nothing shows whether they agree; use smaller voxels or a larger box"
        ]
    agreement = average.halves_agree(optics)
    if agreement >= LEAST["fsc"]:
        return []
    return [
        f"the half-sets correlate at {agreement:.2f} from {extent / shells[0]:.0f} to "
        f"{extent / shells[-1]:.0f} Å, beyond the {COARSE_ANGSTROM:g} Å that they share (expected "
        f"{LEAST['fsc']} or more): the average may be noise; add volumes, or check the labels"
    ]


def report(average: Average, setup: Setup, *, of: int) -> dict[str, object]:
    """What an average is like, in figures, and what speaks against it.

    Parameters
    ----------
    of
        Number of volumes of its class.
    """
    resolution, is_measured = average.resolution(setup.optics)
    return {
        "of_volumes": of,
        "volumes": len(average.members),
        "resolution_angstrom": round(resolution, 1),
        "resolution_measured": is_measured,
        "half_sets": round(average.halves_agree(setup.optics), 3),
        "agreement_of_starts": round(average.agreement, 3),
        "split_correlation": round(average.split.correlation, 3),
        "split_stability": round(average.split.stability, 3),
        "last_turn_deg": round(average.movement_deg, 2),
        "shape_share": round(shape_share(average.density, setup.window), 3),
        "score_median": round(average.score, 3),
        "doubts": doubts(average, setup.optics, setup.window, of=of),
    }

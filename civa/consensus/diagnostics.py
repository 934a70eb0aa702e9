"""What speaks against an average: each doubt with its figure, and what to do."""

from numpy.typing import NDArray

from civa.consensus.alignment import Optics
from civa.consensus.averaging import COARSE_ANGSTROM, Average
from civa.consensus.classification import AGREEING, FEWEST
from civa.consensus.heterogeneity import ALIKE, STABLE
from civa.consensus.reconstruction import shape_share

LEAST = {  # figures below which an average is not to be trusted
    "agreement": 0.8,  # correlation of the starts
    "fsc": AGREEING,  # of half-sets at 53 Å
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
    agreement = average.halves_agree(optics)
    if agreement < LEAST["fsc"]:
        found.append(
            f"the half-sets correlate at {agreement:.2f} at {COARSE_ANGSTROM:g} Å "
            f"(expected {LEAST['fsc']} or more): they disagree; add volumes, or check the labels"
        )
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

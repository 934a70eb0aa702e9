"""What speaks against an average: each doubt with its figure, and what to do."""

from numpy.typing import NDArray

from civa.alignment import Optics
from civa.averaging import COARSE_ANGSTROM, Average
from civa.reconstruction import shape_share

FEWEST = 10  # particles below which an average is hardly one
SMALLEST_SHARE = 0.05  # of a second structure that is worth a word
SPLITTABLE = 40  # particles below which two averages differ by their noise
LEAST = {  # figures below which an average is not to be trusted
    "agreement": 0.8,  # correlation of the starts
    "fsc": 0.5,  # of half-sets at 53 Å
    "shape": 0.05,  # share of the power that is not in the radial mean
    "split": 0.90,  # correlation of two averages of the class
}


def doubts(average: Average, optics: Optics, window: NDArray) -> list[str]:
    """Say what speaks against an average, with the figure and what to do; often nothing."""
    found = []
    n, edge = len(average.scores), window.shape[0]
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
    shell = max(optics.shell(COARSE_ANGSTROM, edge), 1)
    if average.fsc[shell] < LEAST["fsc"]:
        found.append(
            f"the half-sets correlate at {average.fsc[shell]:.2f} at {COARSE_ANGSTROM:g} Å "
            f"(expected {LEAST['fsc']} or more): they disagree; add volumes, or check the labels"
        )
    split = average.split
    is_large = n >= SPLITTABLE and split.smaller_share > SMALLEST_SHARE
    if is_large and split.correlation < LEAST["split"]:
        found.append(
            f"averaged into two, the class gives averages that correlate at "
            f"{split.correlation:.2f} (expected {LEAST['split']} or more), the smaller of "
            f"{100 * split.smaller_share:.0f} % of the volumes: it may mix two structures, or two "
            "conformations; look at them, and split the class"
        )
    share = shape_share(average.density, window)
    if share < LEAST["shape"]:
        found.append(
            f"{100 * share:.1f} % of the average's power is not in its radial mean (expected "
            f"{100 * LEAST['shape']:.0f} % or more): it is a featureless ball, so poses mean little"
        )
    return found

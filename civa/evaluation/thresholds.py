"""Limits of the quality ledger as data: where a check turns green or red, why, what to try."""

import re
from dataclasses import dataclass, replace

import numpy as np

VERDICTS = ("green", "amber", "red", "n/a")
FULL_SHARE = 0.25  # of the box; a mask above it is called full


@dataclass(frozen=True)
class Limit:
    """Where a check turns green and red; amber lies between.

    Attributes
    ----------
    check
        What is measured, in plain words.
    green, red
        At least ``green`` is green and below ``red`` is red; where ``green`` is the smaller
        one, at most ``green`` is green and above ``red`` is red.
    reason
        Why there.
    advice
        What to try when the verdict is not green.
    """

    check: str
    unit: str
    green: float
    red: float
    reason: str
    advice: str

    @property
    def higher_is_better(self) -> bool:
        """Whether large values are good."""
        return self.green > self.red

    @property
    def expected(self) -> str:
        """The limits in words."""
        if self.higher_is_better:
            return f"at least {self.green:g}; red below {self.red:g}"
        return f"at most {self.green:g}; red above {self.red:g}"

    def verdict(self, value: float) -> str:
        """Judge a value; ``n/a`` where there is none."""
        if np.isnan(value):
            return "n/a"
        sign = 1 if self.higher_is_better else -1
        if sign * value >= sign * self.green:
            return "green"
        return "red" if sign * value < sign * self.red else "amber"

    def above(self, floor: float) -> "Limit":
        """Return limits that are shares (%) of the way from ``floor`` (%) to 100 %."""
        green, red = (
            round(floor + share * (100 - floor) / 100, 1) for share in (self.green, self.red)
        )
        return replace(self, green=green, red=red)


# Every threshold of the ledger.  Sizes and shares are those of proteins in boxes of about twice
# their diameter; values of the paper are its Tables 1 to 5, others are in docs/log.md.
LIMITS = {
    "balance": Limit(
        *("largest class over smallest, in volumes", "×", 3, 10),
        "beyond 3:1 the loss is mostly that of the large class; beyond 10:1 it can do without "
        "the small one",
        "classifier.balance: true, where it is not set yet, or more volumes of the smallest class",
    ),
    "smallest": Limit(
        *("training volumes of the smallest class", "volumes", 50, 20),
        "what a class shares has to stand out of the noise: at SNR 0.05 the average of 50 volumes "
        "has SNR 2.5, that of 20 has SNR 1",
        "add volumes of this class, raise split.fractions of the training part, or leave the "
        "class out; classifier.flips: true makes the most of few volumes",
    ),
    "annotated": Limit(
        *("test images with a ground truth", "images", 30, 10),
        "the IoU of single images scatters by about 15 points: a mean of 30 is good to 3 points, "
        "one of 10 to 5",
        "add masks of test volumes to the table; until then read scores as rough",
    ),
    "accuracy": Limit(
        *("test images named correctly, mean over classes", "%", 80, 40),
        "maps show what the classifier looks at: one that guesses looks at nothing; limits are "
        "shares of the way from guessing to perfect",
        "raise classifier.epochs, unless it has converged; add volumes; check labels, and that "
        "protein is bright (invert_contrast)",
    ),
    "worst_class": Limit(
        *("test images named correctly, worst class", "%", 60, 30),
        "a class that is not recognised has seeds of another one; wider than for the mean, since "
        "one class has few test images",
        "classifier.balance: true, if it is a small class and this is not set yet; look at the "
        "confusion matrix: two classes that look alike at this resolution are better joined",
    ),
    "gradcam": Limit(
        *("test mIoU", "%", 10, 5),
        "the paper's own Grad-CAM has 9.7 to 19.0: seeds need to be roughly in place, no more",
        "train the classifier longer (classifier.epochs); localize.layer: fine, for sharper seeds",
    ),
    "cooccurrence": Limit(
        *("test mIoU", "%", 20, 10),
        "the paper has 17.9 to 20.5, and less than Grad-CAM's 10 is no seed",
        "cooccurrence.layer: fine, which sees more than cam; a larger cooccurrence.group_size",
    ),
    "pseudo_labels": Limit(
        *("mIoU of the training part, which supervises the network", "%", 25, 15),
        "the network is only as good as its labels: with the paper's 18 it reached 20 to 24",
        "cooccurrence.layer: fine; more merge.weights and smaller steps of binarize.fractions; "
        "without validation masks, binarize.default_fraction at the particle's share of the box",
    ),
    "iva": Limit(
        *("test mIoU", "%", 30, 15),
        "the paper has 20.6 to 36.1, ours 48 to 57",
        "iva.schedule: one_cycle, more iva.epochs, a larger iva.width; leave segment.threshold "
        "to validation, or raise segment.default_threshold; pairs.radius: 3",
    ),
    "crf": Limit(
        *("test mIoU", "%", 45, 25),
        "the paper has 38.8 to 67.8, ours 60 to 66; below 25 it adds nothing to the paper's "
        "affinity network",
        "crf.search: true with more crf.search_volumes; raise crf.guide_sigma for noisier volumes",
    ),
    "class_miou": Limit(
        *("test mIoU, worst class", "%", 30, 15),
        "a mean can hide a class that fails; the paper's worst classes have 24 to 32",
        "look at its images in the figures: if they are misclassified, classifier.epochs and "
        "classifier.balance; if the masks are too large, binarize.default_fraction and "
        "segment.default_threshold",
    ),
    "gain": Limit(
        *("gain in test mIoU over the stage before", "points", 2, -2),
        "other test images would move a mean by about 2 points: less is no difference",
        "a variant without this stage (variants, without) shows whether what follows needs it",
    ),
    "empty": Limit(
        *("volumes without a mask", "%", 2, 10),
        "every box holds a particle, so an empty mask is a failure; a few noisy ones will fail",
        "raise classifier.epochs if Grad-CAM is empty too; lower segment.threshold or "
        "segment.default_threshold; after the CRF, lower crf.smooth_weight or raise crf.confidence",
    ),
    "full": Limit(
        *(f"masks over {100 * FULL_SHARE:g} % of the box", "%", 1, 5),
        "a ball of half the box's width takes 7 % of it; a quarter is background as well",
        "lower binarize.default_fraction, raise segment.default_threshold, lower "
        "crf.bilateral_spatial; or cut larger boxes",
    ),
    "agreement": Limit(
        *("agreement of proposals with Grad-CAM, mean IoU", "%", 12, 7),
        "Grad-CAM is coarse: good runs have 16 to 23; proposals set against the CAM of another "
        "volume have 6 to 7",
        "check the classifier first: the network found something else than it did; then more "
        "iva.epochs and cooccurrence.layer: fine",
    ),
    "apart": Limit(
        *("proposals that do not touch Grad-CAM", "%", 2, 10),
        "without overlap the largest proposal is taken, which may be a neighbour; of proposals "
        "set against the CAM of another volume, 13 to 25 do not touch it",
        "localize.layer: cam, which covers more than fine; raise binarize.fractions or "
        "binarize.default_fraction; lower segment.default_threshold",
    ),
    "spread": Limit(
        *("spread of mask sizes in one class (SD over mean), worst class", "%", 30, 60),
        "copies of one rigid complex have the same size, up to 1 % in simulations: spread is "
        "noise, neighbours, or two kinds of particle under one label",
        "a larger crf.guide_sigma, which smooths over noise; a higher segment.default_threshold, "
        "which keeps neighbours apart; look for two kinds of particle in this class",
    ),
    "half_sets": Limit(
        *("correlation of half-sets beyond the shells they share, worst class", "%", 60, 30),
        "simulated sets of 70 volumes per class at SNR 0.03 to 0.1 have 70 to 93, those of 20 have "
        "40 to 80; noise has -12 to 7 with 10 to 150 volumes, and 16 with 2,400",
        "more volumes of this class; average.starts: 5; look whether the class mixes structures",
    ),
    "starts": Limit(
        *("correlation of averages from different starts, worst class", "%", 95, 80),
        "simulated sets have 99; starts that end in different averages did not find the particle",
        "more average.starts and volumes; average.radius_voxels so that the particle just fits",
    ),
    "split": Limit(
        *("volumes of a class outside its largest average, worst class", "%", 5, 20),
        "one structure is never divided in simulated sets; of two that are mixed, a share of 20 % "
        "and more was found, and set apart almost without error",
        "look at the averages of this class (figures/averages.png) and give each its own label; "
        "if labels may be wrong, at the columns told and class of alignment.csv",
    ),
    "misfits": Limit(
        *("volumes that fit the average of no class", "%", 2, 10),
        "a robust deviation of 3 leaves 0.1 % of good volumes; simulated sets have 0.0 to 0.1",
        "look at these volumes (column trust of alignment.csv): empty boxes, other structures, "
        "aggregates; raise align.other_centres where particles lie far from the middle",
    ),
    "alignment_class": Limit(
        *("class accuracy of alignment, validation part, worst class", "%", 80, 50),
        "0.98 and more in crowded simulated sets where averages are right; an average of noise or "
        "of neighbours fits volumes of all classes alike",
        "do not trust masks of this class: look at its average (figures/averages.png); more "
        "volumes, better positions, or a class of its own for what is mixed",
    ),
    "expected": Limit(
        *("IoU to expect of a mask, without a look at any, mean", "%", 65, 50),
        "by resolution of averages, errors of poses and probability of averages; crowded simulated "
        "sets have 73, where 70 is reached",
        "look at expected_iou in confidence.csv, and take the masks of which enough is expected; "
        "more volumes make averages and poses better, and so do positions that are less off",
    ),
    "decoys": Limit(
        *("volumes that a decoy fits as well as their average", "%", 2, 10),
        "a decoy is a blob of the average's size, or random phases of its spectrum: 0 of 553 "
        "volumes of a crowded simulated set, 29 to 97 % of boxes that hold nothing",
        "look at these volumes (column decoy_margin of alignment.csv): where many are, picks are "
        "wrong, or the average shows nothing but the size of its particle",
    ),
    "consensus": Limit(
        *("test mIoU", "%", 60, 40),
        "full supervision has 77 to 79 in the paper; where half-sets agree, ours have 90 to 91",
        "read the lines on half-sets and misfits first; then map_back.contour",
    ),
    "trivial": Limit(
        *("lead over the best trivial rule", "points", 2, 0),
        "a method that does not beat smoothing and a threshold is not worth its training; the rule "
        "is the best on the test images themselves, which flatters it; other test images would "
        "move a mean by about 2 points",
        "use the trivial rule for these data, or improve the first stage above that is not "
        "green; see variants in the summary table for settings that did better",
    ),
}
_KEY = re.compile(
    r"\b(?:split|classifier|localize|cooccurrence|merge|binarize|pairs|iva|segment|crf|average"
    r"|align|map_back|import)"
    r"\.[a-z_]+"
)


def config_keys(text: str) -> list[str]:
    """Return the configuration keys (``section.key``) that an advice names."""
    return _KEY.findall(text)


def split_at_keys(text: str) -> list[str]:
    """Split a text at the configuration keys that it names: text, key, text, ..., text."""
    return re.split(f"({_KEY.pattern})", text)

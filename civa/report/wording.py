"""What the report says in words: how to read its figures, and what its terms mean."""

# name -> what a figure shows, and how to read it
FIGURES = {
    "stress_tests": (
        "Where the methods break",
        "One panel for everything that was changed by itself; bars are 95 % intervals over test "
        "images. A method that falls faster than the trivial rule has lost what it learnt from; "
        "the rule is the best on the test images themselves, which flatters it.",
    ),
    "overview": (
        "The median test image of every class",
        "One row per class: the test image whose final IoU is the median, never the best one "
        "(without a ground truth, the first test image). Green is the ground truth, dotted where "
        "it is there to compare; orange is the mask that was found; the coloured clouds are "
        "localization maps, bright where the classifier looked. From left to right, what is "
        "found should close in on the dotted line.",
    ),
    "compare": (
        "Best, median and worst test image of every class",
        "Each image in three slices, across z, y and x, through the middle of the target: input, "
        "ground truth (green), Grad-CAM and the final mask (orange). Look at the worst ones first: "
        "a neighbour outlined in place of the target, a mask that stops short, or a wrong class "
        "each ask for another remedy. Without a ground truth, images are ranked by mask size.",
    ),
    "averages": (
        "The average of every class",
        "One row per class: three slices through the average of its training volumes, aligned from "
        "class labels alone, with the contour of the mask (orange); beside it, where the data are "
        "simulated, the true density in the same frame (green). Right: correlation of the averages "
        "of two half-sets over resolution, and with the truth. An average without features, or "
        "half-sets that part early, mean that the aligned masks are not to be trusted.",
    ),
    "training": (
        "Training of every network",
        "Grey is the training loss, blue the figure on validation, orange the epoch that was kept. "
        "A loss still falling at the right end asks for more epochs; one that is flat from the "
        "start has not learnt; a validation figure that falls while the loss goes on falling "
        "means over-fitting.",
    ),
    "sweeps": (
        "What was chosen on validation",
        "One panel per setting: mIoU of the validation images for every value that was tried, "
        "orange the value chosen. A best value at the end of its range suggests a wider range; a "
        "flat curve means that the setting hardly matters here. Without masks of validation "
        "images nothing is searched, and defaults hold.",
    ),
    "confusion": (
        "Which class was taken for which",
        "Test images by true class (rows) and predicted class (columns). All of them should stand "
        "on the diagonal; two classes that swap images look alike at this resolution and noise. "
        "An image off the diagonal scores 0 in the strict mIoU, however good its mask.",
    ),
    "refinement": (
        "What the CRF changes, image by image",
        "Each point is a test image: its IoU before the CRF (across) and after (up). Points above "
        "the dashed diagonal gained, points below lost. Points on the bottom edge lost their "
        "mask, or never had the right one.",
    ),
    "distributions": (
        "All test images, method by method",
        "Each point is a test image, in the colour of its class; grey is the middle half, the line "
        "the median, the diamond the mean. A cloud near 0 beside one further right means that "
        "some images fail as a whole (missed, or taken for another class), not that all masks "
        "are a little off.",
    ),
}

GLOSSARY = {
    "Image-level label": (
        "the only thing the method learns from: the class of the particle in a box. Nobody paints "
        "voxels."
    ),
    "IoU and mIoU": (
        "intersection over union: the voxels that mask and ground truth share, over the voxels "
        "that either of them has; 100 % is a perfect mask, 0 a miss. mIoU is its mean over the "
        "test images. A shell one voxel too thick around a particle 10 voxels across already "
        "lowers the IoU to 58 %. Class mIoU is the mean of the means of the classes, so that "
        "rare classes count as much as frequent ones."
    ),
    "Strict and agnostic": (
        "strict (plain mIoU): a mask with the wrong class scores 0, even if it has the right "
        "shape. Agnostic: the shape alone counts. A large difference means that the classifier, "
        "not the segmentation, is the weak point."
    ),
    "Trivial rule": (
        "smoothing and a threshold, in variants; it learns nothing and is even told the true "
        "class. A method has to beat the best of them to be worth its training. The best is the "
        "best on the test images themselves, which flatters it; nothing else is chosen there."
    ),
    "Full supervision": (
        "the same kind of network trained on complete ground-truth masks: what class labels alone "
        "are measured by. Weak / full is the share of it that is reached."
    ),
    "± and 95 %": (
        "± is the standard deviation over complete repeats with other random numbers (seed 1, "
        "seed 2, ...). The 95 % interval shows how far the mean depends on which test images there "
        "happen to be."
    ),
    "Grad-CAM, or CAM: the seeds": (
        "a class activation map shows which voxels made the classifier name the class. It is "
        "coarse, and marks the most telling part of a particle rather than all of it; so it is "
        "the seed from which masks grow."
    ),
    "CO": (
        "co-occurrence: what volumes of one class have in common, in the features of the "
        "classifier. Merged with the CAM and cut, it gives the pseudo labels, the masks that the "
        "next network learns from in place of painted ones."
    ),
    "IVA": (
        "inter-voxel affinity: a network that learns which neighbouring voxels belong together. "
        "Its output is cut into connected pieces, the proposals; the CAM chooses the one to keep."
    ),
    "CRF": (
        "conditional random field: moves the border of a mask to where the density changes, with "
        "no training."
    ),
    "CIVA-Consensus": (
        "copies of one rigid particle, turned to each other and averaged, class by class; the "
        "average, turned back into every volume and cut at a contour, is the mask. Told nothing "
        "but the class of the training volumes"
    ),
}

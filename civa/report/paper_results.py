"""What the paper prints in Tables 1 to 5, and the slips that a reader should know of.

Scores are IoU in per cent.  Data sets of a configuration take the place of the paper's by
their key ``stands_for``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PLACES = {"snr003": "SNR 0.03", "snr005": "SNR 0.05", "real": "real set (Poly-GA)"}
CLASSES = {
    "snr003": ("1bxn", "1f1b", "1yg6", "covid"),
    "snr005": ("1bxn", "1f1b", "1yg6", "covid"),
    "real": ("ribosome", "26S", "TRiC"),
}


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes
    ----------
    name, caption
        File name and title.
    places
        The paper's data sets, keys of `PLACES`.
    methods
        Rows in the paper's order: method (see civa.pipeline.runs.METHODS) -> name in this table.
    printed
        Place -> method -> scores: the mean, then one per class where the table has them.
    slips
        (place, method) -> what is wrong with, or odd about, the printed score.
    varied
        Methods whose variants have rows here, too.
    """

    name: str
    caption: str
    places: tuple[str, ...]
    methods: Mapping[str, str]
    printed: Mapping[str, Mapping[str, tuple[float, ...]]]
    slips: Mapping[tuple[str, str], str] = field(default_factory=dict)
    varied: tuple[str, ...] = ()

    @property
    def by_class(self) -> bool:
        """Whether the table has a column for every class."""
        return any(len(row) > 1 for place in self.printed.values() for row in place.values())

    def value(self, place: str | None, method: str, score: str) -> float:
        """Return a printed score, NaN where the paper has none."""
        row = self.printed.get(place or "", {}).get(method, ())
        columns = ("miou", *CLASSES.get(place or "", ()))
        return dict(zip(columns, row, strict=False)).get(score, float("nan"))


_AVERAGE = "the paper prints 9.7; its four classes (Table 1) average 15.0"
_REAL = "the paper prints 67.8 in Table 2 but 62.7 in Tables 3 and 4"
_COVID = "the paper's CRF lowers covid"

TABLES = (
    PaperTable(
        "table1",
        "Table 1: against image-level baselines, simulated",
        ("snr003", "snr005"),
        {
            "respondcam": "Respond-CAM",
            "gradcam": "Grad-CAM",
            "iva": "CIVA-Net",
            "crf": "CIVA-Net (3D-CRF)",
        },
        {
            "snr003": {
                "respondcam": (15.2, 27.0, 12.4, 2.31, 19.1),
                "gradcam": (14.8, 20.3, 15.3, 1.44, 22.3),
                "iva": (20.6, 29.2, 12.4, 6.89, 34.1),
                "crf": (39.9, 48.2, 28.7, 52.6, 30.0),
            },
            "snr005": {
                "respondcam": (9.9, 6.6, 11.9, 1.9, 19.0),
                "gradcam": (9.7, 11.1, 0.2, 24.6, 24.0),
                "iva": (24.4, 16.9, 11.7, 38.6, 30.5),
                "crf": (38.8, 46.4, 24.3, 55.8, 28.7),
            },
        },
        {
            ("snr005", "gradcam"): _AVERAGE,
            ("snr003", "crf"): f"{_COVID} from 34.1 to 30.0",
            ("snr005", "crf"): f"{_COVID} from 30.5 to 28.7",
        },
        varied=("respondcam", "gradcam"),
    ),
    PaperTable(
        "table2",
        "Table 2: against image-level baselines, real set",
        ("real",),
        {
            "respondcam": "Respond-CAM",
            "gradcam": "Grad-CAM",
            "iva": "CIVA-Net",
            "crf": "CIVA-Net (3D-CRF)",
        },
        {
            "real": {
                "respondcam": (12.8, 14.5, 6.1, 2.7),
                "gradcam": (19.0, 22.8, 0.4, 0.0),
                "iva": (36.1, 37.1, 25.4, 36.3),
                "crf": (67.8, 74.2, 32.3, 39.9),
            }
        },
        {("real", "crf"): f"{_REAL}; its classes, unweighted, average 48.8"},
        varied=("respondcam", "gradcam"),
    ),
    PaperTable(
        "table3",
        "Table 3: against stronger supervision",
        ("snr003", "snr005", "real"),
        {"unet_slice": "3D U-Net_s", "voxresnet_full": "VoxResNet_f", "crf": "Ours (3D-CRF)"},
        {
            "snr003": {"unet_slice": (30.3,), "voxresnet_full": (77.0,), "crf": (39.9,)},
            "snr005": {"unet_slice": (34.2,), "voxresnet_full": (78.5,), "crf": (38.8,)},
            "real": {"unet_slice": (52.7,), "voxresnet_full": (89.8,), "crf": (62.7,)},
        },
        {
            ("real", "crf"): _REAL,
            ("snr003", "crf"): (
                "the paper says that 4,000 sub-tomograms train in 8 h on one GTX 1080 Ti; 4,000 "
                "is a whole set, of which 70 % are for training"
            ),
        },
    ),
    PaperTable(
        "table4",
        "Table 4: ablation",
        ("snr003", "snr005", "real"),
        {
            "gradcam": "Grad-CAM",
            "cooccurrence": "+ CO",
            "iva": "+ CO + IVA",
            "crf": "+ CO + IVA + 3D-CRF",
        },
        {
            "snr003": {
                "gradcam": (14.8,),
                "cooccurrence": (17.9,),
                "iva": (20.6,),
                "crf": (39.9,),
            },
            "snr005": {"gradcam": (9.7,), "cooccurrence": (18.3,), "iva": (24.4,), "crf": (38.8,)},
            "real": {"gradcam": (19.0,), "cooccurrence": (20.5,), "iva": (36.1,), "crf": (62.7,)},
        },
        {("snr005", "gradcam"): _AVERAGE, ("real", "crf"): _REAL},
        varied=("gradcam", "cooccurrence", "iva", "crf"),
    ),
    PaperTable(
        "table5",
        "Table 5: what the affinity supervision adds",
        ("snr003", "snr005", "real"),
        {
            "cooccurrence": "pseudo labels",
            "voxresnet_pseudo": "seg. w/o IVA",
            "iva": "seg. with IVA",
        },
        {
            "snr003": {"cooccurrence": (17.9,), "voxresnet_pseudo": (18.1,), "iva": (20.6,)},
            "snr005": {"cooccurrence": (18.3,), "voxresnet_pseudo": (20.3,), "iva": (24.4,)},
            "real": {"cooccurrence": (20.5,), "voxresnet_pseudo": (22.7,), "iva": (36.1,)},
        },
    ),
)

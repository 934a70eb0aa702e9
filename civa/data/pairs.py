"""Affinity pairs on disk: a ``.npz`` of one bit per pair, read volume by volume (Sec. 4.4)."""

import contextlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.data.files import replacing

EPOCH = (1980, 1, 1, 0, 0, 0)  # of the members: equal pairs give equal files


class PairsWriter:
    """An archive of pairs that is being written; see `write_pairs`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, index: int, sampled: NDArray[np.bool_]) -> None:
        """Add the pairs (2, o, d, h, w) of the volume at a position of the stack."""
        sides, o = sampled.shape[:2]
        bits = np.packbits(sampled.reshape(sides, o, -1), axis=-1)  # (2, o, d h w / 8)
        self.store(f"pairs_{index}", bits)

    def store(self, name: str, values: NDArray) -> None:
        """Add an array as a member, as `numpy.savez_compressed` does."""
        member = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
        member.compress_type = zipfile.ZIP_DEFLATED
        with self._archive.open(member, "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(values), allow_pickle=False)


@contextlib.contextmanager
def write_pairs(
    path: Path,
    indices: NDArray[np.int64],
    offsets: Sequence[tuple[int, int, int]],
    shape: tuple[int, ...],
) -> Iterator[PairsWriter]:
    """Write the pairs of volumes one after the other.

    The ``.npz`` holds ``indices`` (n,) positions in the stack; ``offsets`` (o, 3) z, y, x;
    ``shape`` (3,) of a volume; and for every position i an array ``pairs_<i>``
    (2, o, d h w / 8) uint8: for S^- and S^+_bg, one bit per anchor voxel (the corner of a pair's
    bounding box), in C order.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        writer = PairsWriter(archive)
        writer.store("indices", np.asarray(indices))
        writer.store("offsets", np.array(offsets, dtype=np.int8))
        writer.store("shape", np.array(shape))
        yield writer


class Pairs:
    """The pairs of the training volumes, read when they are asked for.

    Attributes
    ----------
    indices
        (n,) positions in the stack.
    offsets
        z, y, x of every kind of pair.
    shape
        (d, h, w) of a volume.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = np.load(path, allow_pickle=False)
            self.indices: NDArray[np.int64] = self._archive["indices"]
            offsets, shape = self._archive["offsets"], self._archive["shape"]
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is not a file of pairs ({error}): rerun 'mine-pairs'"
            ) from error
        self.offsets = [(int(z), int(y), int(x)) for z, y, x in offsets]
        self.shape: tuple[int, int, int] = (int(shape[0]), int(shape[1]), int(shape[2]))

    def __getitem__(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pairs (2, b, o, d, h, w) of the volumes with these numbers (b,) in ``indices``."""
        bits = np.stack([self._bits(int(index)) for index in self.indices[numbers]], axis=1)
        voxels = int(np.prod(self.shape))
        pairs = np.unpackbits(bits, axis=-1, count=voxels)  # (2, b, o, d h w)
        return pairs.reshape(*bits.shape[:-1], *self.shape)

    def _bits(self, index: int) -> NDArray[np.uint8]:
        try:
            return self._archive[f"pairs_{index}"]
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.path} has no pairs of volume {index} ({error}): rerun 'mine-pairs'"
            ) from error

"""What the header of an MRC file says of its voxels, beyond what mrcfile makes of it.

Sources: the MRC2014 format (Cheng et al., J. Struct. Biol. 192, 2015) and IMOD's description of its
extension, https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
"""

import numpy as np
from numpy.typing import NDArray

IMOD_STAMP = 1146047817  # "IMOD" in the words 39 and 40: the flags beside it can be relied upon
SIGNED_BYTES = 1  # IMOD's flag: mode 0 holds -128 to 127; without it, and with the stamp, 0 to 255
EXTRA2 = 152  # byte of the header at which the stamp stands


def as_zyx(voxels: NDArray, header: np.recarray, *, source: str) -> NDArray:
    """Return voxels as they were meant: bytes of IMOD without a sign, axes in the order z, y, x.

    Parameters
    ----------
    voxels
        (z, y, x) or (n, z, y, x) as mrcfile reads them: the file's sections are the slowest axis.
    header
        Of the same file.
    source
        Name of the file, for messages.

    Raises
    ------
    ValueError
        If voxels are complex; and as `zyx_order`.
    """
    if np.iscomplexobj(voxels):
        raise ValueError(
            f"{source} holds complex voxels (mode {header.mode}), a Fourier transform: give the "
            "volume itself"
        )
    if voxels.dtype == np.int8 and has_unsigned_bytes(header):
        voxels = voxels.view(np.uint8)
    last = voxels.ndim - 3
    order = [last + axis for axis in zyx_order(header, source=source)]
    return voxels.transpose(*range(last), *order)  # (..., z, y, x)


def zyx_order(header: np.recarray, *, source: str) -> tuple[int, int, int]:
    """Return where z, y and x stand among the axes of a file, whose slowest is 0.

    Raises
    ------
    ValueError
        If the header names its axes by anything but 1, 2 and 3.
    """
    stored = [int(header[field]) for field in ("maps", "mapr", "mapc")]
    if stored == [0, 0, 0]:  # older programs leave them out
        return 0, 1, 2
    if sorted(stored) != [1, 2, 3]:
        raise ValueError(
            f"{source} names its axes {stored[::-1]} (MAPC, MAPR, MAPS): expected 1, 2 and 3 in "
            "some order; write it again with the program that made it"
        )
    return stored.index(3), stored.index(2), stored.index(1)


def has_unsigned_bytes(header: np.recarray) -> bool:
    """Tell whether bytes (mode 0) are 0 to 255, as IMOD wrote them for long and marks them."""
    stamp, flags = np.frombuffer(header.tobytes()[EXTRA2 : EXTRA2 + 8], header.mode.dtype)
    return bool(stamp == IMOD_STAMP and not flags & SIGNED_BYTES)

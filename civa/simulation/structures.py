"""Structures to electron potential (Sec. 5.1): PDB or mmCIF files, MRC maps, phantoms.

Coordinates are in ångström, (n, 3) in x, y, z as in the file; maps are z, y, x.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import gemmi

PHANTOM_PREFIX = "phantom-"
STRUCTURE_SUFFIXES = (".pdb", ".cif", ".pdb.gz", ".cif.gz", ".ent", ".mmcif")
MAP_SUFFIXES = (".mrc", ".map")
OVERSAMPLING = 2  # templates are kept at half the voxel size, so that turning them loses little
FWHM_TO_SIGMA = 0.225  # Gaussian sigma per ångström of resolution, the convention of map makers
PROTEIN_POTENTIAL = 0.065  # Å / Å^3, as templates of atoms have it inside their contour


@dataclass(frozen=True)
class Atoms:
    """Point scatterers.

    Attributes
    ----------
    positions
        (n, 3) x, y, z in ångström.
    weights
        (n,) electron scattering factor at zero angle, in ångström.
    """

    positions: NDArray[np.float64]
    weights: NDArray[np.float64]

    def centred(self) -> "Atoms":
        """Return the same atoms with their weighted mean at the origin."""
        centre = np.average(self.positions, axis=0, weights=self.weights)
        return Atoms(self.positions - centre, self.weights)

    @property
    def diameter_angstrom(self) -> float:
        """Twice the largest distance of an atom from the centre."""
        return 2 * float(np.linalg.norm(self.centred().positions, axis=1).max())


def find_structure(folder: Path, name: str) -> Path | None:
    """Return the file called ``name`` in ``folder`` or its sub-folders, whatever its format."""
    inner = sorted(path for path in folder.glob("*") if path.is_dir())
    candidates = (
        place / f"{stem}{s}"
        for place in (folder, *inner)
        for stem in (name, name.lower())
        for s in (*STRUCTURE_SUFFIXES, *MAP_SUFFIXES)
    )
    return next((path for path in candidates if path.is_file()), None)


def read_atoms(path: Path, *, assembly: str = "biological") -> Atoms:
    """Read the atoms of a PDB or mmCIF file.

    Parameters
    ----------
    path
        PDB or mmCIF, plain or gzipped.
    assembly
        ``biological`` expands the first biological assembly (what is in the cell);
        ``deposited`` keeps the asymmetric unit as deposited.

    Raises
    ------
    ValueError
        If the file is missing, unreadable, or holds no atom.
    """
    import gemmi  # slow to import, as is scipy: not for the names of structures

    if assembly not in ("biological", "deposited"):
        raise ValueError(f"assembly must be 'biological' or 'deposited' (got '{assembly}')")
    if not path.is_file():
        raise ValueError(f"{path} does not exist: put the structure there, as PDB or mmCIF")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a readable PDB or mmCIF file ({error})") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise ValueError(f"{path} holds no atom: check that it is the coordinate file of the entry")
    if assembly == "biological" and len(structure.assemblies) > 0:
        first = structure.assemblies[0].name
        structure.transform_to_assembly(first, gemmi.HowToNameCopiedChain.Short)
    structure.remove_waters()
    return _atoms(structure[0], path)


def _atoms(model: "gemmi.Model", path: Path) -> Atoms:
    sites = [site for site in model.all() if site.atom.element.atomic_number > 1]
    if not sites:
        raise ValueError(f"{path} holds only hydrogen and water: no macromolecule to simulate")
    positions = np.array([site.atom.pos.tolist() for site in sites])
    factors = {site.atom.element.name: site.atom.element.c4322 for site in sites}
    at_zero = {name: float(factor.calculate_sf(0.0)) for name, factor in factors.items()}
    weights = [site.atom.occ * at_zero[site.atom.element.name] for site in sites]
    if not np.isfinite(positions).all():
        raise ValueError(f"{path} holds a coordinate that is not a finite number")
    if sum(weights) <= 0:
        raise ValueError(f"{path} holds no atom with an occupancy above 0: nothing would scatter")
    return Atoms(positions, np.array(weights))


def electron_potential(
    atoms: Atoms, *, voxel_size_angstrom: float, resolution_angstrom: float
) -> NDArray[np.float32]:
    """Turn atoms into a template of the electron scattering potential.

    Below atomic resolution an atom is a point that scatters by its factor at zero angle.
    The points are blurred to the asked resolution and by the box of one voxel, whose
    variance is the voxel size squared over 12.

    Parameters
    ----------
    atoms
        The scatterers; their centre of mass comes to lie on the centre of the map.
    voxel_size_angstrom
        Voxel size of the simulated volumes; the template is ``OVERSAMPLING`` times finer.
    resolution_angstrom
        Resolution at which the potential is drawn.

    Returns
    -------
    (m, m, m) potential, z, y, x, m odd, centre at m // 2.
    """
    from scipy import ndimage

    spacing = voxel_size_angstrom / OVERSAMPLING
    sigma = _blur_angstrom(voxel_size_angstrom, resolution_angstrom)
    half = int(np.ceil((atoms.diameter_angstrom / 2 + 3 * sigma) / spacing))
    size = 2 * half + 1
    coordinates = atoms.centred().positions[:, ::-1] / spacing + half  # (n, 3) z, y, x
    potential = _splat(coordinates, atoms.weights, size)
    return ndimage.gaussian_filter(potential, sigma / spacing).astype(np.float32)


def _blur_angstrom(voxel_size_angstrom: float, resolution_angstrom: float) -> float:
    return float(np.hypot(FWHM_TO_SIGMA * resolution_angstrom, voxel_size_angstrom / np.sqrt(12)))


def map_potential(
    density: NDArray,
    map_voxel_angstrom: float,
    *,
    voxel_size_angstrom: float,
    resolution_angstrom: float,
) -> NDArray[np.float32]:
    """Turn a density map (of EMDB, say) into a template of the electron potential.

    Maps come in arbitrary units: what is below zero counts as solvent, and the inside of the
    contour at a quarter of the maximum is scaled to the mean potential of protein, so that
    maps and atoms can be mixed in one data set.

    Parameters
    ----------
    density
        (d, h, w) map, protein positive.
    map_voxel_angstrom
        Voxel size of the map.
    voxel_size_angstrom, resolution_angstrom
        As in `electron_potential`; a map is blurred as if it were exact.

    Returns
    -------
    (m, m, m) potential, z, y, x, m odd, centre of mass at m // 2.

    Raises
    ------
    ValueError
        If the map holds nothing positive.
    """
    from scipy import ndimage

    solid = np.clip(density, 0, None).astype(np.float64)
    if solid.max() <= 0:
        raise ValueError("the map holds no positive density: invert its contrast, protein positive")
    spacing = voxel_size_angstrom / OVERSAMPLING
    sigma = _blur_angstrom(voxel_size_angstrom, resolution_angstrom)
    margin = int(np.ceil(3 * sigma / map_voxel_angstrom))
    blurred = ndimage.gaussian_filter(np.pad(solid, margin), sigma / map_voxel_angstrom)
    centre = np.array(ndimage.center_of_mass(blurred))
    corners = np.argwhere(blurred > 1e-3 * blurred.max())
    reach = np.abs(corners - centre).max() * map_voxel_angstrom
    half = int(np.ceil(reach / spacing)) + 1
    step = spacing / map_voxel_angstrom
    template = ndimage.affine_transform(
        blurred, np.full(3, step), offset=centre - step * half, output_shape=(2 * half + 1,) * 3
    )
    inside = template > 0.25 * template.max()
    scale = PROTEIN_POTENTIAL * spacing**3 / template[inside].mean()
    return np.clip(scale * template, 0, None).astype(np.float32)


def _splat(
    coordinates: NDArray[np.float64], weights: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Share every point among its eight voxels, by trilinear weights."""
    corner = np.floor(coordinates).astype(int)  # (n, 3)
    fraction = coordinates - corner
    grid = np.zeros(size**3)
    for offset in np.ndindex(2, 2, 2):
        share = np.where(offset, fraction, 1 - fraction).prod(axis=1) * weights
        index = np.ravel_multi_index(tuple((corner + offset).T), (size,) * 3, mode="clip")
        grid += np.bincount(index, share, minlength=size**3)
    return grid.reshape(size, size, size)

"""The class of every particle of a list: a column, what the program numbers, or the list itself."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from civa.particle_lists.particle_list import ParticleList, as_names

SHOWN = 8  # values of a column that a message lists


def classes_of(
    particles: ParticleList,
    *,
    of_list: str | None = None,
    column: str | None = None,
    names: Mapping[str, str] | None = None,
) -> NDArray[np.str_]:
    """Return the class (n,) of every particle; blank where it has none that was asked for.

    Parameters
    ----------
    of_list
        Class of all particles of the list, where there is one list per class.
    column
        Column that holds the class; else it is what the program itself numbers as a class.
    names
        Value in the file -> name of the class; particles of other values belong to none.

    Raises
    ------
    ValueError
        If the list has no such column, no particle has a value that ``names`` knows, or the list
        has one value only where it should tell classes apart.
    """
    if of_list is not None:
        return np.array([of_list] * len(particles), dtype=np.str_)
    where = f"{particles.path} ({particles.dialect})"
    if column is not None:
        if column not in particles.table:
            raise ValueError(
                f"{where} has no column '{column}': it has {list(particles.table.columns)[:SHOWN]}"
            )
        values = np.char.strip(as_names(particles.table[column]))
    elif particles.classes is not None:
        values = np.char.strip(particles.classes)
    else:
        raise ValueError(
            f"{where} does not say of which class its particles are: give one list per class "
            "(lists: {class: file}), or name the column (class_column)"
        )
    if names is None:
        return values
    known = np.isin(values, list(names))
    if not known.any():
        found = sorted(set(values.tolist()))[:SHOWN]
        raise ValueError(
            f"{where} has the classes {found}, and none of {sorted(names)} that class_values names"
        )
    return np.array([names.get(value, "") for value in values], dtype=np.str_)

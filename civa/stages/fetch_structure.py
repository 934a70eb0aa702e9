"""Download one entry of the Protein Data Bank, once, with a checksum and retries."""

import logging
from pathlib import Path

import pooch
import requests

logger = logging.getLogger(__name__)


def run(
    *,
    out: Path,
    name: str,
    sha256: str = "",
    server: str = "https://files.rcsb.org/download",
    retries: int = 4,
) -> None:
    """Download the mmCIF file of a PDB entry.

    The checksum is checked when one is given; otherwise the one found is logged, to be
    written into the configuration.

    Parameters
    ----------
    out
        mmCIF file of the entry.
    name
        Identifier of the PDB entry.
    retries
        How often a download that failed is tried again.
    """
    source = f"{name.lower()}.cif"
    fetcher = pooch.create(
        path=out.parent,
        base_url="",
        registry={out.name: f"sha256:{sha256}" if sha256 else None},
        urls={out.name: f"{server.rstrip('/')}/{source}"},
        retry_if_failed=retries,
    )
    try:
        fetcher.fetch(out.name, downloader=pooch.HTTPDownloader(timeout=60))
    except (requests.RequestException, ValueError, OSError) as error:
        raise ValueError(
            f"cannot download {source} from {server} ({error}): on a machine without network, "
            f"put {source} or {name.lower()}.pdb into the configured folder of structures, or save "
            f"{source} as {out}"
        ) from error
    logger.info("%s sha256 %s", out, pooch.file_hash(str(out)))

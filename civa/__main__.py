"""``python -m civa VERB``: run one stage of the pipeline."""

import sys

from civa.cli import main

sys.exit(main())

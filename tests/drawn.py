"""What tests read off a figure."""

import io

from matplotlib.figure import Figure
from matplotlib.text import Text


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=20)
    return stream.getvalue()


def words(figure: Figure) -> str:
    """All that is written on a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text))

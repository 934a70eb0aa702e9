"""Text, markup and style of the report; whoever imports this package depends on its files."""

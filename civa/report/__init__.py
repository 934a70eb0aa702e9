"""Results, tables and the report (Sec. 5.5)."""

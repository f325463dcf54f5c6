"""The report of an evaluation: its values, as JSON, and as a page to open offline."""

"""The families of figures; each has a `figures()` that measures and gives rows of the table."""

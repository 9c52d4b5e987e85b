"""HTTP glue only: which paths a family of APIs has, and what it answers besides calls."""

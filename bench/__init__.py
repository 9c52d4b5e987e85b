"""Measurements. Each module here has a `main()` that prints its numbers."""

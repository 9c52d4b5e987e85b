"""Administration, the steward's part: what is kept of it, and what is told of use."""

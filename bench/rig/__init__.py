"""The apparatus: processes and what they cost, callers, subjects, the table."""

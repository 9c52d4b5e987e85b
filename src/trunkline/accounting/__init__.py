"""Money as arithmetic: price times usage, budgets, and what a call is likely to cost. No I/O."""

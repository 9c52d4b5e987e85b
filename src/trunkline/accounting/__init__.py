"""Money and limits as arithmetic: price times usage, budgets, what a call is likely to cost.

Requests and tokens per minute are here as well (`rates`, `limited`). No I/O.
"""

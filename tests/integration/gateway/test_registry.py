"""The same, on PostgreSQL."""

from tests.unit.gateway.test_registry import *

"""The same, on PostgreSQL."""

from tests.unit.gateway.test_registry_homes import *

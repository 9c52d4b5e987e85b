"""Configuration: a typed `Config` from YAML, from LiteLLM's form or from the environment alone.

`load` finds and reads a file, `from_mapping` takes the same shape from memory. What comes back is
checked as a whole: every name in it leads somewhere. A key that has no effect is an error.
"""

from trunkline.config.load import from_mapping, from_model_list, load
from trunkline.config.model import BudgetRule, Config, Group, Key, Server, Webhook
from trunkline.config.provider import Provider

__all__ = [
    "BudgetRule",
    "Config",
    "Group",
    "Key",
    "Provider",
    "Server",
    "Webhook",
    "from_mapping",
    "from_model_list",
    "load",
]

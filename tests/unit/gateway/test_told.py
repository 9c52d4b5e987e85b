"""What a child of the supervisor says on standard error."""

import subprocess
import sys

_CHILD = """
import logging
from trunkline.gateway.told import told
told()
for name in ("", ".storage", ".hooks", ".journal"):
    logging.getLogger("trunkline" + name).warning("of 'trunkline%s'", name)
fields = {"deployment": "demo/a", "error_code": "e"}
logging.getLogger("trunkline").warning("LLM circuit opened", extra=fields)
"""
_ARGUMENT = '{"url":"http://h:1","pid":7,"started_s":1,"restarts":0}'


def test_what_goes_wrong_is_said() -> None:
    """By whatever part of the gateway; of the events of calls and deployments only the worst."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, _ARGUMENT],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr.splitlines() == [
        "trunkline: of 'trunkline.storage'",
        "trunkline: of 'trunkline.hooks'",
        "trunkline: of 'trunkline.journal'",
        "trunkline: LLM circuit opened: demo/a, e",
    ]

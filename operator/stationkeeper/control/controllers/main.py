"""Entry point of the operator's container: `python -m stationkeeper.control.controllers.main`."""

import asyncio
import gc
import sys

from stationkeeper.control.controllers import logs
from stationkeeper.control.controllers.operator import main as run
from stationkeeper.control.controllers.settings import parse


def main() -> int:
    """Parse flags, run."""
    settings = parse()
    logs.configure(settings.log_format, settings.log_level)
    # The store is large and changes little, and JSON makes much garbage without cycles: looking for cycles as often as Python
    # does by itself took an eighth of the processor time.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())

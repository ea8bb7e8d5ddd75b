"""Entry point of the operator's container: `python -m stationkeeper.control.controllers.main`."""

import asyncio
import sys

from stationkeeper.control.controllers import logs
from stationkeeper.control.controllers.operator import main as run
from stationkeeper.control.controllers.settings import parse


def main() -> int:
    """Parse flags, run."""
    settings = parse()
    logs.configure(settings.log_format, settings.log_level)
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())

"""``python -m dracotask DOCROOT …``; also run by its path where no script is installed."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if not __package__:
        # Run by path: sys.path[0] is the package's own folder, in which its modules would shadow others.
        sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from dracotask.cli.main import main

    main()

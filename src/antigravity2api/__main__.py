"""``python -m antigravity2api``."""

import sys

from antigravity2api.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

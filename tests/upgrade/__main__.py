"""python -m tests.upgrade: whether the migrations of this checkout leave the code of the last release working."""

import sys

from tests.upgrade.check import main

sys.exit(main())

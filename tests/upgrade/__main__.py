"""python -m tests.upgrade: check that the code of the last release still works after the migrations of this checkout."""

import sys

from tests.upgrade.check import main

sys.exit(main())

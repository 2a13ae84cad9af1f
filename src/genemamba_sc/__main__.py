"""``python -m genemamba_sc`` is the command ``genemamba``."""

import sys

from genemamba_sc.cli import main

sys.exit(main())

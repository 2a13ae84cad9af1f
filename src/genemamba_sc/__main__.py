"""``python -m genemamba_sc`` is the command ``genemamba``."""

import sys

from genemamba_sc._cli import main

sys.exit(main())

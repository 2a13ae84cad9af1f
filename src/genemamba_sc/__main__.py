"""Run the command ``genemamba`` as ``python -m genemamba_sc``."""

import sys

from genemamba_sc.cli import main

sys.exit(main())

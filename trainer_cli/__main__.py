"""`python -m trainer_cli`, the same as `trainer-cli`."""

import sys

from trainer_cli.cli import main

sys.exit(main())

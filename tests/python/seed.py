"""The seed of what a test run does at random; PROCESSION_SEED runs the same again."""

import os
import random

SEED = int(os.environ.get("PROCESSION_SEED", random.randrange(2**32)))

"""The lab's tables, for a process that folds and does nothing else."""

import os

from tests.support.lab import Lab

TABLES = Lab(os.environ["LAB"]).own_tables

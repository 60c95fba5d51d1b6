"""Runs the lab's service as a process of its own."""

import os

from services.kit.process import main
from tests.support.lab import Lab
from tests.support.lab_service.service import service_of

if __name__ == "__main__":
    main(service_of(Lab(os.environ["LAB"])))

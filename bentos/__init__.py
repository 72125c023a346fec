"""What goes into a box: this repository's models, and those of the folders that EKIBEN_BENTOS names beside it."""

import os

# So that bentos.<name>.model is found wherever the folder <name> lies.
__path__ = [*__path__, *(os.path.abspath(p) for p in os.environ.get("EKIBEN_BENTOS", "").split(os.pathsep) if p)]

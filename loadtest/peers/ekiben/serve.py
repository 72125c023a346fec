"""Becomes `bentoml serve .` of this checkout, with one worker, one engine thread and a BentoML home of its own.

Two BentoML servers must not share a home (the second one wipes the first one's metrics), so the home is new and only
the models in it are the user's, by a link.
"""

import os
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def home_of_its_own() -> Path:
    home = Path(tempfile.mkdtemp(prefix="ekiben-home-"))
    users = Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml"))
    (home / "models").symlink_to(users.resolve() / "models")
    return home


def main(port: str) -> None:
    environment = {
        **os.environ,
        "BENTOML_HOME": str(home_of_its_own()),
        "BENTOML_DO_NOT_TRACK": "True",
        "EKIBEN_SETTINGS": "",
        "EKIBEN_WORKERS": "1",
        "EKIBEN_ENGINE_THREADS": "1",
    }
    os.chdir(CHECKOUT)
    serve = [sys.executable, "-m", "bentoml", "serve", ".", "--host", "127.0.0.1", "--port", port]
    os.execve(sys.executable, serve, environment)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1])

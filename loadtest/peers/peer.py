"""What a peer is: a folder with a peer.toml, and the virtual environment made for it on first use."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtest.documents import CHECKOUT

HERE = Path(__file__).parent
ENVIRONMENTS = CHECKOUT / ".venvs"

DECISIVE = (
    "bentoml", "fastapi", "kserve", "litserve", "mlserver", "mosec", "nvidia-pytriton", "onnxruntime", "numpy",
    "uvicorn", "uvloop", "httptools", "starlette", "pydantic", "orjson", "pysimdjson", "msgspec",
)  # fmt: skip


class PeerError(Exception):
    """This peer cannot be measured, and its message says why; the others can."""


@dataclass(frozen=True)
class Peer:
    """One row of the comparison.

    command and environment may hold {python}, {port}, {spare_port}, {workers}, {scratch} (a folder that is emptied
    afterwards), {home} (a BentoML home of its own over the user's models) and {bentos} (the folder of `sentences`,
    where it is asked for). dialect: its JSON. routes: by payload and model a path, or paths by the fewest connections
    that they are for; for grpc, address/model. checkout: where our own service is started.
    A limit is no competitor: its row is drawn as a line to come close to.
    """

    name: str
    title: str
    dialect: str
    command: list[str]
    routes: dict[str, dict[str, str | dict[str, str]]]
    limit: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    checkout: str = ""

    @property
    def folder(self) -> Path:
        """Where it is started."""
        return Path(self.checkout) if self.checkout else HERE / self.name.replace("-", "_")

    @property
    def requirements(self) -> Path:
        """The file of what is installed for it; a checkout of ours has none."""
        return self.folder / "requirements.txt"

    @property
    def python(self) -> Path:
        """The project's own where a peer asks for nothing more."""
        if self.checkout:
            return Path(sys.executable) if self.folder == CHECKOUT else self.folder / ".venv/bin/python"
        return ENVIRONMENTS / self.name / "bin" / "python"

    def path(self, payload: str, model: str, connections: int) -> str | None:
        """Where this payload is sent; None if the peer does not take it."""
        if payload == "v2-json":
            payload = "json" if self.dialect == "v2" else "none"
        route = self.routes.get(payload, {}).get(model)
        if isinstance(route, dict):
            return route[max((fewest for fewest in route if int(fewest) <= connections), key=int)]
        return route


def read(name: str) -> Peer:
    """The peer that a folder describes: bare-asgi is in bare_asgi/. PeerError"""
    path = HERE / name.replace("-", "_") / "peer.toml"
    if not path.exists():
        raise PeerError(f"no peer {name!r}: there are {', '.join(names())}")
    described = Peer(name=name, **tomllib.loads(path.read_text()))
    return replace(described, checkout=described.checkout.format(checkout=CHECKOUT))


def of_checkout(name: str, path: Path) -> Peer:
    """Our service as another checkout has it."""
    return replace(read("ekiben"), name=name, title=f"Ekiben, {name}", checkout=str(path))


def names() -> list[str]:
    """Ours first, then the peers, then the limits; each by its name."""
    folders = [path.parent.name.replace("_", "-") for path in HERE.glob("*/peer.toml")]
    return sorted(folders, key=lambda name: (not name.startswith("ekiben"), name.startswith("bare"), name))


def install(peer: Peer) -> None:
    """Makes the environment, unless it is there and made from these requirements. PeerError"""
    if peer.checkout:
        return
    stamp = peer.python.parents[1] / "requirements.sha256"
    wanted = hashlib.sha256(peer.requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"{peer.name}: installing {peer.requirements.relative_to(CHECKOUT)}, once", file=sys.stderr)
    shutil.rmtree(stamp.parent, ignore_errors=True)
    venv.create(stamp.parent, with_pip=True)
    pip = [str(peer.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-r", str(peer.requirements)], capture_output=True, text=True)
    if done.returncode:
        raise PeerError(f"pip could not install it: {done.stderr.strip()[-600:]}")
    stamp.write_text(wanted)


def versions(peer: Peer) -> dict[str, str]:
    """Of the packages that decide a peer's speed, those that its environment holds."""
    query = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = subprocess.run([str(peer.python), "-c", query], capture_output=True, text=True, check=True)
    held = {name.lower(): number for name, number in json.loads(done.stdout).items()}
    return {name: held[name] for name in DECISIVE if name in held}

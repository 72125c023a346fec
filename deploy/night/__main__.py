"""`python -m deploy.night`: the stack of compose.yaml and front.yaml, and the chain, through all that a bad night has.

Each scene prints what happened and what an operator saw: health, alerts, a line of the log. The exit code is 0 only if
every one ended as docs/reliability.md and docs/containers.md promise. Nothing is published but on loopback, on free
ports; takes about ten minutes, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from deploy.night import scenes
from deploy.night.scenes import Play, Scene
from deploy.night.stack import Stack, free_ports, started
from deploy.swarm.fleet import FleetError


def play(title: str, act: Play) -> Scene:
    """The scene, printed as it ends."""
    scene, began = Scene(title), time.monotonic()
    print(f"\n{title}", flush=True)
    try:
        act(scene)
    except (FleetError, OSError) as error:
        scene.broken.append(str(error))
    for mark, lines in (("happened", scene.happened), ("operator", scene.seen), ("NOT KEPT", scene.broken)):
        for line in lines:
            print(f"  {mark}  {line}")
    print(f"  {'as promised' if not scene.broken else 'not as promised'}, {time.monotonic() - began:.0f} s", flush=True)
    return scene


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every scene ended as promised, else 1."""
    parser = argparse.ArgumentParser(prog="python -m deploy.night", description=__doc__)
    parser.add_argument("--image", default="ekiben:slim", help="the service's (%(default)s); make image BOX=slim")
    parser.add_argument("--front", default="haproxy:2.6", help="HAProxy's (%(default)s)")
    image = (options := parser.parse_args(arguments)).image
    names = ("EKIBEN_PORT", "EKIBEN_GRPC_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "CHAIN_PORT")
    variables = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    variables |= {"EKIBEN_IMAGE": image, "HAPROXY_IMAGE": options.front, "WATCHDOG_URL": "http://watchdog:8080/"}
    stack = Stack("ekiben-night", "compose.yaml", "front.yaml", **variables)
    chain = Stack("ekiben-night-chain", "chain.yaml", **variables, EKIBEN_CHAIN_TRANSPORT="volume")
    try:
        with started(stack), scenes.watchdogs_receiver(stack, image) as receiver:
            file = scenes.example(stack)
            played = [
                play("Alerting watches itself", lambda scene: scenes.watched(scene, stack, receiver)),
                play("Hostile uploads", lambda scene: scenes.uploads(scene, stack)),
                play("A worker is killed", lambda scene: scenes.worker_killed(scene, stack)),
                play("A replica is killed", lambda scene: scenes.replica_killed(scene, stack, image)),
                play("Nobody is left", lambda scene: scenes.nobody_left(scene, stack)),
                play("A release with an altered model", lambda scene: scenes.refused_model(scene, stack, image)),
                play("Upgrades under load", lambda scene: scenes.upgrades(scene, stack, image)),
            ]
        played += [
            play("Killed again and again on one /tmp", lambda scene: scenes.kills_on_one_tmp(scene, image)),
            play("A full /tmp", lambda scene: scenes.full_tmp(scene, image)),
            play("Asked for what it lacks", lambda scene: scenes.asked_for_more(scene, image)),
            play("TLS in the container", lambda scene: scenes.over_tls(scene, image)),
        ]
        with started(chain):
            played.append(play("The chain", lambda scene: scenes.chain(scene, chain, image, file)))
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    n_kept = sum(not scene.broken for scene in played)
    print(f"\n{n_kept} of {len(played)} scenes ended as promised")
    return 0 if n_kept == len(played) else 1


if __name__ == "__main__":
    sys.exit(main())

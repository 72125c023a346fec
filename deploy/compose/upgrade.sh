#!/bin/sh
# Replaces the replicas of compose.yaml and front.yaml by those of EKIBEN_IMAGE, without a gap: new ones are started beside
# the old ones and are healthy before these are told to end, one after the other. If a new one never gets healthy, the
# new ones go and the old ones stay. Takes compose's own options before the first of its commands, such as --project-name.
#   EKIBEN_IMAGE=ekiben:2 deploy/compose/upgrade.sh
set -eu
here=$(dirname "$0")
compose() { docker compose --file "$here/compose.yaml" --file "$here/front.yaml" "$@"; }
: "${EKIBEN_IMAGE:?EKIBEN_IMAGE names the new image}"

old=$(compose "$@" ps --quiet ekiben)
replicas=$(echo "$old" | grep -c .) || { echo "no replica is running: up --detach --wait starts them" >&2; exit 1; }
echo "$replicas replicas of $EKIBEN_IMAGE beside the $replicas that are there"
scale=$replicas
for replica in $old; do # one at a time: the front may send a request to each that does not listen yet, and tries four
  scale=$((scale + 1))
  if ! compose "$@" up --detach --no-deps --no-recreate --scale "ekiben=$scale" --wait --wait-timeout 90 ekiben; then
    echo "not all of them are healthy: they go, the former stay" >&2
    new=$(compose "$@" ps --all --quiet ekiben | grep -vxF "$old" || true)
    [ -z "$new" ] || docker rm --force $new > /dev/null
    exit 1
  fi
done
for replica in $old; do # SIGTERM: not ready for 5 s, which the front sees, and then no more
  docker stop --time 25 "$replica" > /dev/null && docker rm "$replica" > /dev/null
done
compose "$@" ps ekiben

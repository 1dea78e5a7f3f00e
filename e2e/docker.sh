#!/usr/bin/env bash
# A docker daemon of our own, with Seawall in `registry-mirrors`, and directly: pull, look inside, push, pull again.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
export DOCKER_CONFIG=$HERE/client DOCKER_HOST=unix://$HERE/docker.sock
IMAGE=seawall-e2e
LOCAL=$REGISTRY/team/docker
DOCKERD_PID=''

start_daemon() {
  # A machine without an init system may have no control groups mounted, and the daemon does not start without.
  mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p "$HERE/client"
  # The file that Seawall prints, made impatient for the pulls that must fail.
  "$SEAWALL" client-config docker --config "$HERE/seawall.yml" 2>/dev/null | jq '. + {"max-download-attempts": 1}' >daemon.json
  dockerd --config-file "$HERE/daemon.json" --host "$DOCKER_HOST" --data-root "$HERE/docker" --exec-root "$HERE/exec" \
    --pidfile "$HERE/dockerd.pid" --storage-driver=vfs --iptables=false --ip6tables=false --bridge=none >>"$HERE/dockerd.log" 2>&1 </dev/null &
  DOCKERD_PID=$!
  STARTED+=("$DOCKERD_PID")
  until_true 60 docker version || { echo "dockerd does not start"; tail "$HERE/dockerd.log"; exit 1; }
}
forget() { docker container prune -f && docker image prune -af && [ -z "$(docker image ls -aq)" ]; }
marker_inside() {
  local container; container=$(docker create "$1") || return 1
  docker cp "$container:/etc/seawall-e2e" "$HERE/marker" && docker rm "$container" && grep -qx "$MARKER" "$HERE/marker"
}
id_of() { docker image inspect -f '{{.Id}}' "$1"; }

start_upstream
start_seawall
start_daemon
check "an index is pulled through registry-mirrors" docker pull -q "$IMAGE:multi"
same "the image is the one of this platform" "$CONFIG_DIGEST" "$(id_of "$IMAGE:multi")"
same "the repository digest is the upstream's" "$MULTI_DIGEST" "$(docker image inspect -f '{{index .RepoDigests 0}}' "$IMAGE:multi" | cut -d@ -f2)"
check "the files of the image are there" marker_inside "$IMAGE:multi"
check "a schema 2 image is pulled through registry-mirrors" docker pull -q "$IMAGE:schema2"
check "an image is pulled by digest" docker pull -q "$IMAGE@$NATIVE_DIGEST"
check "the images are removed" forget
check "an index is pulled directly" docker pull -q "$REGISTRY/docker.io/library/$IMAGE:multi"
check "a short name of the default upstream is pulled directly" docker pull -q "$REGISTRY/$IMAGE:schema2"
# The daemon unpacks zstd since version 23; before that it can only carry it.
if [ "$(docker version -f '{{.Server.Version}}' | cut -d. -f1)" -ge 23 ]; then
  check "a zstd image is pulled directly" docker pull -q "$REGISTRY/library/$IMAGE:zstd"
fi
check "an image is tagged" docker tag "$REGISTRY/docker.io/library/$IMAGE:multi" "$LOCAL:1"
check "an image is pushed beside the mirror" docker push -q "$LOCAL:1"
check "a second push finds its layers there" docker push -q "$LOCAL:1"
check "an image is committed" docker commit "$(docker create -e E2E=1 "$LOCAL:1")" "$LOCAL:2"
check "a second tag is pushed" docker push -q "$LOCAL:2"
refuse "a push to a mirrored name is refused" docker push -q "$REGISTRY/docker.io/library/$IMAGE:multi"

stop_upstream
check "the images are removed again" forget
check "with the upstream stopped the index is pulled through registry-mirrors" docker pull -q "$IMAGE:multi"
kill_seawall
start_seawall
check "the images are removed once more" forget
check "after a kill -9 the index is pulled with the upstream still stopped" docker pull -q "$IMAGE:multi"
check "the files of the cached image are there" marker_inside "$IMAGE:multi"
check "after a kill -9 the pushed image is pulled" docker pull -q "$LOCAL:1"
same "it is the image that was pushed" "$CONFIG_DIGEST" "$(id_of "$LOCAL:1")"
check "the files of the pushed image are there" marker_inside "$LOCAL:1"
same "the pushed image is deleted" 202 "$(status DELETE "/v2/team/docker/manifests/$(digest_of team/docker:1)")"
refuse "a deleted image is gone" docker pull -q "$LOCAL:1"
check "its neighbour stays" docker pull -q "$LOCAL:2"
finish

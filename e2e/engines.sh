# shellcheck shell=bash
# Sourced, after the kit, by suites with a container engine: each engine with everything of its own below $HERE, set up by
# the files that Seawall prints for $HERE/seawall.yml.

# containerd: Seawall's hosts.toml goes where it says it does, and names on Seawall itself are pulled over plain http.
CTR=(ctr --address "$HERE/containerd.sock" --namespace e2e)
CTR_PULL=("${CTR[@]}" images pull --hosts-dir "$HERE/hosts" --snapshotter native)
configure_containerd() {
  mkdir -p "$HERE/hosts/_default" "$HERE/hosts/${REGISTRY/:/_}_" "$HERE/hosts/$REGISTRY"
  "$SEAWALL" client-config containerd --config "$HERE/seawall.yml" >"$HERE/hosts/_default/hosts.toml"
  printf 'server = "http://%s"\n' "$REGISTRY" >"$HERE/hosts/$REGISTRY/hosts.toml"
  cat >"$HERE/containerd.toml" <<TOML
version = 2
root = "$HERE/containerd/root"
state = "$HERE/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$HERE/containerd.sock"
TOML
}
start_containerd() {
  configure_containerd
  containerd --config "$HERE/containerd.toml" >>"$HERE/containerd.log" 2>&1 </dev/null &
  STARTED+=($!)
  until_true 30 "${CTR[@]}" version || { echo "containerd does not start"; tail "$HERE/containerd.log"; exit 1; }
}
ctr_forget() { "${CTR[@]}" images ls -q | xargs -r "${CTR[@]}" images rm --sync; }
ctr_digest() { "${CTR[@]}" images ls | awk -v name="$1" '$1 == name { print $3 }'; }
ctr_marker_inside() {
  mkdir -p "$HERE/mounted" && "${CTR[@]}" images mount --snapshotter native "$1" "$HERE/mounted" >/dev/null &&
  grep -qx "$MARKER" "$HERE/mounted/etc/seawall-e2e" && "${CTR[@]}" images unmount --rm --snapshotter native "$HERE/mounted"
}

# podman: Seawall's registries.conf, with the line that makes short names mean docker.io.
PODMAN=(podman --root "$HERE/podman" --runroot "$HERE/runroot" --tmpdir "$HERE/tmp" --storage-driver vfs --events-backend none --cgroup-manager cgroupfs)
configure_podman() {
  { echo 'unqualified-search-registries = ["docker.io"]'; "$SEAWALL" client-config podman --config "$HERE/seawall.yml"; } >"$HERE/registries.conf"
  export CONTAINERS_REGISTRIES_CONF=$HERE/registries.conf
}
podman_forget() { "${PODMAN[@]}" rmi --all --force; }
podman_digest() { "${PODMAN[@]}" image inspect -f '{{.Digest}}' "$1"; }
podman_marker_inside() {
  local at; at=$("${PODMAN[@]}" image mount "$1") || return 1
  grep -qx "$MARKER" "$at/etc/seawall-e2e"
}

# docker: Seawall's daemon.json, made impatient for the pulls that must fail.
start_dockerd() {
  export DOCKER_CONFIG=$HERE/client DOCKER_HOST=unix://$HERE/docker.sock
  # A machine without an init system may have no control groups mounted, and the daemon does not start without.
  mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p "$HERE/client" && echo '{}' >"$HERE/client/config.json" # podman and skopeo read it too
  "$SEAWALL" client-config docker --config "$HERE/seawall.yml" 2>/dev/null | jq '. + {"max-download-attempts": 1}' >"$HERE/daemon.json"
  dockerd --config-file "$HERE/daemon.json" --host "$DOCKER_HOST" --data-root "$HERE/docker" --exec-root "$HERE/exec" \
    --pidfile "$HERE/dockerd.pid" --storage-driver=vfs --iptables=false --ip6tables=false --bridge=none >>"$HERE/dockerd.log" 2>&1 </dev/null &
  STARTED+=($!)
  until_true 60 docker version || { echo "dockerd does not start"; tail "$HERE/dockerd.log"; exit 1; }
}
docker_forget() { docker container prune -f && docker image prune -af && [ -z "$(docker image ls -aq)" ]; }
docker_marker_inside() {
  local container; container=$(docker create "$1") || return 1
  docker cp "$container:/etc/seawall-e2e" "$HERE/marker" && docker rm "$container" && grep -qx "$MARKER" "$HERE/marker"
}
docker_digest() { docker image inspect -f '{{index .RepoDigests 0}}' "$1" | cut -d@ -f2; }

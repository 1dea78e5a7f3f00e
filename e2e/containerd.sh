#!/usr/bin/env bash
# containerd of our own with hosts.toml naming Seawall for docker.io: pull (with its `ns=`), unpack, push, pull again.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
SOCKET=$HERE/containerd.sock
CTR=(ctr --address "$SOCKET" --namespace e2e)
PULL=("${CTR[@]}" images pull --hosts-dir "$HERE/hosts" --snapshotter native)
IMAGE=docker.io/library/seawall-e2e
LOCAL=$REGISTRY/team/containerd

# The file that Seawall prints, where it says it goes.
mkdir -p hosts/_default "hosts/${REGISTRY/:/_}_" "hosts/$REGISTRY"
write_config
"$SEAWALL" client-config containerd --config "$HERE/seawall.yml" >hosts/_default/hosts.toml
printf 'server = "http://%s"\n' "$REGISTRY" >"hosts/$REGISTRY/hosts.toml"
cat >containerd.toml <<TOML
version = 2
root = "$HERE/root"
state = "$HERE/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$SOCKET"
TOML
start_daemon() {
  containerd --config "$HERE/containerd.toml" >>containerd.log 2>&1 </dev/null &
  STARTED+=($!)
  until_true 30 "${CTR[@]}" version || { echo "containerd does not start"; tail containerd.log; exit 1; }
}
forget() { local all; all=$("${CTR[@]}" images ls -q); [ -z "$all" ] || "${CTR[@]}" images rm --sync $all; }
target_of() { "${CTR[@]}" images ls | awk -v name="$1" '$1 == name { print $3 }'; }
marker_inside() {
  mkdir -p "$HERE/mounted" && "${CTR[@]}" images mount --snapshotter native "$1" "$HERE/mounted" >/dev/null &&
  grep -qx "$MARKER" "$HERE/mounted/etc/seawall-e2e" && "${CTR[@]}" images unmount --rm --snapshotter native "$HERE/mounted"
}

start_upstream
start_seawall
start_daemon
check "an index is pulled through hosts.toml" "${PULL[@]}" "$IMAGE:multi"
same "its digest is the upstream's" "$MULTI_DIGEST" "$(target_of "$IMAGE:multi")"
check "the files of the image are there" marker_inside "$IMAGE:multi"
check "all platforms are pulled" "${PULL[@]}" --all-platforms "$IMAGE:multi"
check "a zstd image is pulled and unpacked" "${PULL[@]}" "$IMAGE:zstd"
check "a schema 2 image is pulled and unpacked" "${PULL[@]}" "$IMAGE:schema2"
check "an index is pulled directly" "${PULL[@]}" "$REGISTRY/docker.io/library/seawall-e2e:multi"
check "an index is pushed with all platforms" "${CTR[@]}" images push --plain-http "$LOCAL:multi" "$IMAGE:multi"
same "the pushed index has the upstream's digest" "$MULTI_DIGEST" "$(digest_of team/containerd:multi)"
check "a zstd image is pushed" "${CTR[@]}" images push --plain-http "$LOCAL:zstd" "$IMAGE:zstd"
check "a schema 2 image is pushed" "${CTR[@]}" images push --plain-http "$LOCAL:schema2" "$IMAGE:schema2"

stop_upstream
check "the images are removed" forget
check "with the upstream stopped the index is pulled through hosts.toml" "${PULL[@]}" "$IMAGE:multi"
kill_seawall
start_seawall
check "the images are removed again" forget
check "after a kill -9 the index is pulled with the upstream still stopped" "${PULL[@]}" "$IMAGE:multi"
check "after a kill -9 the pushed index is pulled" "${PULL[@]}" "$LOCAL:multi"
check "after a kill -9 the pushed zstd image is pulled" "${PULL[@]}" "$LOCAL:zstd"
check "the files of the pushed image are there" marker_inside "$LOCAL:zstd"
same "the pushed index is deleted" 202 "$(status DELETE "/v2/team/containerd/manifests/$MULTI_DIGEST")"
refuse "a deleted image is gone" "${PULL[@]}" "$LOCAL:multi"
check "its neighbour stays" "${PULL[@]}" "$LOCAL:schema2"
finish

# shellcheck shell=bash
# Makes one real image and fills the upstream's store with every shape of it that clients meet; sourced by e2e/run.
# Leaves $E2E_STORE/registry (docker-registry's storage) and $E2E_STORE/facts (digests the suites compare with).

MARKER="seawall end to end"

# make_store builds everything unless a finished store is there already (E2E_CACHE keeps one between runs).
make_store() {
  [ -f "$E2E_STORE/facts" ] && return
  local work=$E2E_DIR/image
  mkdir -p "$work" "$E2E_STORE/registry"
  make_rootfs "$work" && make_layout "$work" && fill_registry "$work"
}

make_rootfs() {
  debootstrap --variant=minbase bookworm "$1/rootfs" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$1/log" 2>&1 ||
    { tail -n 5 "$1/log"; return 1; }
  # What no client looks at only makes every unpacking slower.
  rm -rf --one-file-system "$1"/rootfs/var/cache/apt/* "$1"/rootfs/var/lib/apt/lists/* "$1"/rootfs/usr/share/{doc,locale,man,info}/* "$1"/rootfs/dev/*
}

# Two layers, so that order and sharing matter; the second platform has the same files under another configuration.
make_layout() {
  local layout=$1/layout
  NATIVE=$(dpkg --print-architecture)
  case $NATIVE in arm64) OTHER=amd64 ;; *) OTHER=arm64 ;; esac
  echo "$MARKER" >"$1/marker"
  {
    umoci init --layout "$layout" &&
    umoci new --image "$layout:native" &&
    umoci insert --image "$layout:native" "$1/rootfs" / &&
    umoci insert --image "$layout:native" "$1/marker" /etc/seawall-e2e &&
    umoci config --image "$layout:native" --os linux --architecture "$NATIVE" --config.cmd /bin/bash &&
    umoci tag --image "$layout:native" other &&
    umoci config --image "$layout:other" --architecture "$OTHER" &&
    skopeo --insecure-policy copy --dest-compress --dest-compress-format zstd "oci:$layout:native" "oci:$1/zstd:zstd" &&
    rm -rf --one-file-system "$1/rootfs"
  } >"$1/log" 2>&1 || { tail -n 5 "$1/log"; return 1; }
  skopeo inspect --raw "oci:$1/zstd:zstd" | jq -e 'all(.layers[].mediaType; endswith("+zstd"))' >/dev/null ||
    { echo "skopeo did not make zstd layers"; return 1; }
}

fill_registry() {
  local port registry repository=library/seawall-e2e pid result=0
  port=$((20000 + RANDOM % 12000)) registry=127.0.0.1:$port
  cat >"$1/registry.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $E2E_STORE/registry}}
http: {addr: $registry}
YAML
  docker-registry serve "$1/registry.yml" >"$1/registry.log" 2>&1 &
  pid=$!
  { curl -s --retry 30 --retry-connrefused --retry-delay 1 -o /dev/null "http://$registry/v2/" &&
    push_shapes "$1" "$registry" "$repository"; } >"$1/log" 2>&1 || { tail -n 5 "$1/log"; result=1; }
  kill "$pid"
  wait "$pid" 2>/dev/null
  return "$result"
}

push_shapes() {
  local copy=(skopeo --insecure-policy copy --dest-tls-verify=false) to=docker://$2/$3 base=http://$2/v2/$3/manifests tag
  "${copy[@]}" "oci:$1/layout:native" "$to:native" &&
  "${copy[@]}" "oci:$1/layout:other" "$to:other" &&
  "${copy[@]}" "oci:$1/zstd:zstd" "$to:zstd" &&
  "${copy[@]}" --format v2s2 "oci:$1/layout:native" "$to:schema2" &&
  for tag in native other zstd schema2; do
    curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' \
      -D "$1/$tag.headers" -o "$1/$tag.json" "$base/$tag" || return 1
  done
  jq -n --slurpfile native "$1/native.json" \
    --arg a "$(digest_in "$1/native.headers")" --argjson an "$(stat -c %s "$1/native.json")" --arg aa "$NATIVE" \
    --arg b "$(digest_in "$1/other.headers")" --argjson bn "$(stat -c %s "$1/other.json")" --arg bb "$OTHER" '
    def child(digest; size; architecture): {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digest, size: size,
      platform: {os: "linux", architecture: architecture}};
    {schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [child($a; $an; $aa), child($b; $bn; $bb)]}
    ' >"$1/multi.json" &&
  curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary "@$1/multi.json" \
    -D "$1/multi.headers" "$base/multi" &&
  write_facts "$1"
}

digest_in() { sed -n 's/^docker-content-digest: *//Ip' "$1" | tr -d '\r'; }

write_facts() {
  local tag
  {
    echo "NATIVE=$NATIVE OTHER=$OTHER"
    echo "MARKER='$MARKER'"
    for tag in multi native other zstd schema2; do echo "${tag^^}_DIGEST=$(digest_in "$1/$tag.headers")"; done
    echo "CONFIG_DIGEST=$(jq -r .config.digest "$1/native.json")"
    echo "LAYER_DIGEST=$(jq -r '.layers[0].digest' "$1/native.json") LAYER_SIZE=$(jq -r '.layers[0].size' "$1/native.json")"
  } >"$E2E_STORE/facts.part" && mv "$E2E_STORE/facts.part" "$E2E_STORE/facts"
}

#!/usr/bin/env bash
# A mirror of three upstreams, one open, one with a password, one with tokens: containerd by `ns=`, podman by path prefixes,
# docker by `registry-mirrors`; a herd, chains, loops, wrong passwords, and every upstream gone.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
# shellcheck source=/dev/null
source "$E2E/engines.sh"
# shellcheck source=/dev/null
source "$E2E/upstreams.sh"
IMAGE=docker.io/library/seawall-e2e:multi
OUTER=127.0.0.1:$(free_port) TROUBLED=127.0.0.1:$(free_port) FORGETFUL=127.0.0.1:$(free_port)
NGINX_MORE="server { listen $FORGETFUL; location / { proxy_pass http://$TROUBLED; proxy_set_header Via ''; } }"
BLOBS='.*/blobs/.*'
each() { local command=$1 one; shift; for one in "$@"; do "$command" "$one" || return 1; done; }

cat >seawall.yml <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $DATA}, delete: {enabled: true}}
http: {addr: $REGISTRY}
cache: {minfree: 0}
mirrors:
  - {name: docker.io, endpoints: ["http://$HUB"], default: true, freshness: {default: 1s}}
  - {name: quay.example, endpoints: ["http://$QUAY"], username: mirror, passwordfile: $HERE/password, freshness: {default: 1s}}
  - name: ghcr.example
    endpoints: [http://$GHCR]
    username: mirror
    passwordfile: $HERE/password
    realms: [http://$TOKEN_SERVER]
    freshness: {default: 1s}
YAML
# Mirrors the mirror; and one half of a ring.
cat >outer.yml <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $HERE/outer}}
http: {addr: $OUTER}
cache: {minfree: 0}
mirrors:
  - {name: docker.io, endpoints: ["http://$REGISTRY/docker.io"], default: true, freshness: {default: 1s}}
  - {name: quay.example, endpoints: ["http://$REGISTRY/quay.example"], freshness: {default: 1s}}
  - {name: ghcr.example, endpoints: ["http://$REGISTRY/ghcr.example"], freshness: {default: 1s}}
  - {name: ring.example, endpoints: ["http://$TROUBLED/ring.example"], timeout: {connect: 2s, read: 2s}}
YAML
# Everything that can be wrong about an upstream.
cat >troubled.yml <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $HERE/troubled}}
http: {addr: $TROUBLED}
cache: {minfree: 0}
mirrors:
  - {name: docker.io, endpoints: ["http://$TROUBLED"], default: true, timeout: {connect: 2s, read: 2s}}
  - {name: self.example, endpoints: ["http://$TROUBLED/self.example"], timeout: {connect: 2s, read: 2s}}
  - {name: ring.example, endpoints: ["http://$OUTER/ring.example"], timeout: {connect: 2s, read: 2s}}
  - {name: forgetful.example, endpoints: ["http://$FORGETFUL/forgetful.example"], timeout: {connect: 2s, read: 2s}}
  - {name: password.example, endpoints: ["http://$QUAY"], username: mirror, password: wrong}
  - {name: anonymous.example, endpoints: ["http://$QUAY"]}
  - {name: token.example, endpoints: ["http://$GHCR"], username: mirror, password: wrong, realms: ["http://$TOKEN_SERVER"]}
YAML

start_upstreams
start_seawall
same "the second upstream refuses who has no password" 401 "$(status GET "http://$QUAY/v2/team/cold/manifests/1")"
same "the third upstream refuses who has no token" 401 "$(status GET "http://$GHCR/v2/org/cold/manifests/1")"

start_containerd
check "containerd pulls from the first upstream by ns=" "${CTR_PULL[@]}" "$IMAGE"
same "with the upstream's digest" "$MULTI_DIGEST" "$(ctr_digest "$IMAGE")"
check "containerd pulls from the upstream with a password by ns=" "${CTR_PULL[@]}" quay.example/team/containerd:1
same "with the upstream's digest" "$(digest_at quay team/containerd)" "$(ctr_digest quay.example/team/containerd:1)"
check "containerd pulls from the upstream with tokens by ns=" "${CTR_PULL[@]}" ghcr.example/org/containerd:1
same "with the upstream's digest" "$(digest_at ghcr org/containerd)" "$(ctr_digest ghcr.example/org/containerd:1)"
check "the files of the three images are there" each ctr_marker_inside "$IMAGE" quay.example/team/containerd:1 ghcr.example/org/containerd:1
check "containerd pulls by path prefix too" "${CTR_PULL[@]}" "$REGISTRY/quay.example/team/containerd:1"

configure_podman
check "podman pulls from the first upstream by path prefix" "${PODMAN[@]}" pull -q "$IMAGE"
check "podman pulls from the upstream with a password by path prefix" "${PODMAN[@]}" pull -q quay.example/team/podman:1
same "with the upstream's digest" "$(digest_at quay team/podman)" "$(podman_digest quay.example/team/podman:1)"
check "podman pulls from the upstream with tokens by path prefix" "${PODMAN[@]}" pull -q ghcr.example/org/podman:1
same "with the upstream's digest" "$(digest_at ghcr org/podman)" "$(podman_digest ghcr.example/org/podman:1)"
check "the files of the three images are there" each podman_marker_inside "$IMAGE" quay.example/team/podman:1 ghcr.example/org/podman:1
check "podman pushes a mirrored image under a name of our own" "${PODMAN[@]}" push -q quay.example/team/podman:1 "$REGISTRY/own/podman:1"
refuse "podman does not push to a mirrored name" "${PODMAN[@]}" push -q quay.example/team/podman:1 "$REGISTRY/quay.example/team/podman:1"

start_dockerd
check "docker pulls from the first upstream by registry-mirrors" docker pull -q seawall-e2e:multi
same "with the upstream's digest" "$MULTI_DIGEST" "$(docker_digest seawall-e2e:multi)"
check "docker pulls from the upstream with a password" docker pull -q "$REGISTRY/quay.example/team/docker:1"
same "with the upstream's digest" "$(digest_at quay team/docker)" "$(docker_digest "$REGISTRY/quay.example/team/docker:1")"
check "docker pulls from the upstream with tokens" docker pull -q "$REGISTRY/ghcr.example/org/docker:1"
same "with the upstream's digest" "$(digest_at ghcr org/docker)" "$(docker_digest "$REGISTRY/ghcr.example/org/docker:1")"
check "the files of the image are there" docker_marker_inside "$REGISTRY/quay.example/team/docker:1"

# A mirror in front of the mirror, which has none of these images yet.
serve outer "$OUTER"
OUTER_PID=$PID
mkdir -p chained/_default
"$SEAWALL" client-config containerd --config outer.yml >chained/_default/hosts.toml
CHAINED=("${CTR[@]}" images pull --hosts-dir "$HERE/chained" --snapshotter native)
check "through two mirrors containerd pulls by ns= from the upstream with a password" "${CHAINED[@]}" quay.example/team/chain:1
same "with the upstream's digest" "$(digest_at quay team/chain)" "$(ctr_digest quay.example/team/chain:1)"
check "through two mirrors skopeo copies by path prefix from the upstream with tokens" "${COPY[@]}" "docker://$OUTER/ghcr.example/org/chain:1" "dir:$HERE/copied"
same "with the upstream's digest" "$(digest_at ghcr org/chain)" "sha256:$(sha256 copied/manifest.json)"
check "through two mirrors skopeo copies an index with all platforms" "${COPY[@]}" --all "docker://$OUTER/library/seawall-e2e:multi" "dir:$HERE/copied-all"

# Sixteen clients want an image that is not there yet; the upstream sends it at 1 MiB a second for each connection.
herd() {
  local number pid result=0 pids=()
  for number in $(seq 16); do
    "${COPY[@]}" "docker://$REGISTRY/ghcr.example/org/herd:1" "dir:$HERE/herd/$number" & pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || result=1; done
  return $result
}
mkdir herd
check "sixteen clients pull one cold image at once" herd
same "every one has the upstream's manifest" "16 $(digest_at ghcr org/herd | cut -d: -f2)" "$(sha256sum herd/*/manifest.json | cut -d' ' -f1 | sort | uniq -c | awk '{ print $1, $2 }')"
same "each of its blobs was fetched once" "9 for 9" "$(gets ghcr 'org/herd/blobs/.*')"
same "its manifest was fetched once" "1 for 1" "$(gets ghcr 'org/herd/manifests/.*')"
rm -rf --one-file-system herd

same "for all clients together each blob of the first upstream was fetched once" "$(answered hub "$BLOBS" | sort -u | wc -l)" "$(answered hub "$BLOBS" | wc -l)"
check "and there were some" test "$(answered hub "$BLOBS" | wc -l)" -ge 3
same "each blob of the upstream with a password was fetched once" "12 for 12" "$(gets quay "$BLOBS")"
same "each blob of the upstream with tokens was fetched once" "21 for 21" "$(gets ghcr "$BLOBS")"
refuse "the log never tells the password" grep -qF "$PASSWORD" seawall.log
same "a name that the upstream does not have is a 404" 404 "$(status GET /v2/quay.example/team/none/manifests/1)"
same "an unknown ns= is a 404 and no upstream's matter" 404 "$(status GET "/v2/team/containerd/manifests/1?ns=other.example")"

MISSING=sha256:$(printf 'nowhere' | sha256sum | cut -d' ' -f1)
serve troubled "$TROUBLED"
for name in password anonymous token; do
  repository=team/podman
  [ $name = token ] && repository=org/podman
  check "$name refused by the upstream: GET of a manifest tells it" told 5 '401|403' GET "$TROUBLED" "/v2/$name.example/$repository/manifests/1"
  check "$name refused by the upstream: HEAD of a manifest tells it" told 5 '401|403' HEAD "$TROUBLED" "/v2/$name.example/$repository/manifests/1"
  check "$name refused by the upstream: GET of a blob tells it" told 5 '401|403' GET "$TROUBLED" "/v2/$name.example/$repository/blobs/$MISSING"
done
check "a mirror of itself is told as a loop" told 2 508 GET "$TROUBLED" /v2/self.example/team/app/manifests/1
check "also when asked by digest" told 2 508 GET "$TROUBLED" "/v2/self.example/team/app/manifests/$MISSING"
check "also for a blob" told 2 508 GET "$TROUBLED" "/v2/self.example/team/app/blobs/$MISSING"
check "also for its tags" told 2 508 GET "$TROUBLED" /v2/self.example/team/app/tags/list
check "also as the default" told 2 508 GET "$TROUBLED" /v2/team/app/manifests/1
check "a ring of two mirrors is told as a loop" told 2 508 GET "$TROUBLED" /v2/ring.example/team/app/manifests/1
check "from its other end too" told 2 508 GET "$OUTER" "/v2/ring.example/team/app/blobs/$MISSING"
check "a loop through a proxy that drops Via ends by the read timeout" told 8 504 GET "$TROUBLED" /v2/forgetful.example/team/app/manifests/1
check "for a blob too" told 8 504 GET "$TROUBLED" "/v2/forgetful.example/team/app/blobs/$MISSING"
check "and both go on" each answers "$TROUBLED" "$OUTER"

stop_upstreams
check "containerd's images are removed" ctr_forget
check "with every upstream stopped containerd pulls from the first" "${CTR_PULL[@]}" "$IMAGE"
check "from the one with a password" "${CTR_PULL[@]}" quay.example/team/containerd:1
check "from the one with tokens" "${CTR_PULL[@]}" ghcr.example/org/containerd:1
check "podman's images are removed" podman_forget
check "with every upstream stopped podman pulls from the first" "${PODMAN[@]}" pull -q "$IMAGE"
check "from the one with a password" "${PODMAN[@]}" pull -q quay.example/team/podman:1
check "from the one with tokens" "${PODMAN[@]}" pull -q ghcr.example/org/podman:1
check "docker's images are removed" docker_forget
check "with every upstream stopped docker pulls from the first" docker pull -q seawall-e2e:multi
check "from the one with a password" docker pull -q "$REGISTRY/quay.example/team/docker:1"
check "from the one with tokens" docker pull -q "$REGISTRY/ghcr.example/org/docker:1"
same "a stale answer is one" 200 "$(status GET /v2/quay.example/team/podman/manifests/1 "${ACCEPT[@]}")"
same "it says so" stale "$(header seawall-cache)"
check "and warns" grep -qi '^warning: 299 - "stale: quay.example' headers
for name in quay ghcr; do
  check "what was never pulled from $name.example is no 404" told 8 '50[24]' GET "$REGISTRY" "/v2/$name.example/$([ $name = quay ] && echo team || echo org)/cold/manifests/1"
done
kill_seawall
check "with the first mirror killed the second serves by itself" "${COPY[@]}" "docker://$OUTER/quay.example/team/chain:1" "dir:$HERE/copied-again"
stop "$OUTER_PID"
same "and stops in order" 0 "$STATUS"
start_seawall
check "after a kill -9 the mirrored image is there" "${COPY[@]}" "docker://$REGISTRY/ghcr.example/org/herd:1" "dir:$HERE/copied-herd"
check "and the pushed one" "${PODMAN[@]}" pull -q "$REGISTRY/own/podman:1"
finish

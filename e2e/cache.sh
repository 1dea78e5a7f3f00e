#!/usr/bin/env bash
# What an operator of a mirror does: warm, look, purge, allow and deny, bound the cache and pin; with the commands, over the
# socket of the running server.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
# shellcheck source=/dev/null
source "$E2E/upstreams.sh"
DEBUG=127.0.0.1:$(free_port)
MAX=4000000

cat >seawall.yml <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $DATA}, delete: {enabled: true}}
http: {addr: $REGISTRY, debug: {addr: $DEBUG, prometheus: {enabled: true}}}
mirrors:
  - name: docker.io
    endpoints: [http://$HUB]
    default: true
    freshness: {default: 1s}
    timeout: {read: 2s}
    allow: ["team/**"]
    deny: ["team/secret*"]
cache: {maxsize: $MAX, minfree: 1MB, pin: ["docker.io/team/pinned:*"]}
YAML
mirror() { "$SEAWALL" mirror "$@" --config "$HERE/seawall.yml"; }
pull() { rm -rf "$HERE/pulled" && "${COPY[@]}" "docker://$REGISTRY/$1:1" "dir:$HERE/pulled"; }
reports() { mirror status -o json | jq -e "$1"; }
metric() { curl -sf "http://$DEBUG/metrics" | grep -E "$1"; }

# Every image is a megabyte.
fill hub team/{warmed,pinned,secret,one,two,three,four,five} library/other || { echo "the upstream cannot be made"; tail make.log; exit 1; }
start_registry hub "$HUB" "$HERE/hub"
HUB_PID=$PID
start_seawall

same "the socket is the owner's alone" 600 "$(stat -c %a "$DATA/seawall.sock")"
same "the management API is refused over TCP" 403 "$(status GET /api/v1/mirrors)"
check "an image is warmed" mirror warm docker.io/team/warmed:1
same "all of it was fetched" "3 for 3" "$(gets hub 'team/warmed/blobs/.*')"
check "a warmed image is pulled" pull docker.io/team/warmed
same "from here" "3 for 3" "$(gets hub 'team/warmed/blobs/.*')"
refuse "an image that nobody has is not warmed" mirror warm docker.io/team/none:1
check "the status tells the mirror" reports '.mirrors[0] | .name == "docker.io" and .healthy and .hits >= 3 and .inflight == 0'
check "and what the cache holds" reports ".cache.bytes > 1000000 and .cache.bytes < 1100000 and .cache.maxbytes == $MAX"
check "people can read it" mirror status
check "metrics tell the same" metric '^seawall_mirror_requests_total\{.*upstream="docker.io".*\} [1-9]'
check "an image is purged" mirror purge 'docker.io/team/warmed:*'
check "and frees what it took" reports '.cache.bytes == 0'
check "it is pulled again" pull docker.io/team/warmed
same "from the upstream" "6 for 3" "$(gets hub 'team/warmed/blobs/.*')"

for name in team/secret library/other; do
  same "$name is refused" 403 "$(status GET "/v2/docker.io/$name/manifests/1" "${ACCEPT[@]}")"
  same "$name is refused as DENIED" DENIED "$(jq -r '.errors[0].code' body)"
  refuse "$name is not warmed" mirror warm "docker.io/$name:1"
  same "the upstream was never asked for $name" 0 "$(grep -c "/v2/$name/" hub.log)"
done

check "the image to keep is pulled" pull docker.io/team/pinned
check "an image of our own is pushed" "${COPY[@]}" "dir:$HERE/pulled" "docker://$REGISTRY/own/app:1"
for name in one two three four five; do check "team/$name is pulled" pull "docker.io/team/$name"; done
check "the cache stays within its bound" until_true 20 reports ".cache.bytes <= $MAX"
check "and is still of use" reports '.cache.bytes > 2000000'
check "evictions are counted" metric '^seawall_evicted_bytes_total [1-9]'

# The worst of outages: the upstream takes connections and says nothing.
kill -STOP "$HUB_PID"
check "with the upstream silent the last image is still there" pull docker.io/team/five
check "and the pinned one" pull docker.io/team/pinned
check "and our own" pull own/app
check "the one that nobody pulled for longest is gone, which is no 404" told 10 '50[24]' GET "$REGISTRY" /v2/docker.io/team/warmed/manifests/1
check "the status tells that the upstream is down" until_true 10 reports '.mirrors[0].healthy == false'
hits() { local left=20; while ((left-- > 0)); do [ "$(status GET /v2/docker.io/team/five/manifests/1 "${ACCEPT[@]}")" = 200 ] || return 1; done; }
BEFORE=$SECONDS
check "a stale tag is pulled twenty times" hits
check "and not every one waits for the upstream" test $((SECONDS - BEFORE)) -le 12
check "the status counts what was served stale" reports '.mirrors[0].stale >= 1'
kill -CONT "$HUB_PID"
healthy() { status GET /v2/docker.io/team/five/manifests/1 "${ACCEPT[@]}" >/dev/null; reports '.mirrors[0].healthy'; }
check "when the upstream speaks again the status tells it" until_true 40 healthy
check "and what was evicted is pulled again" pull docker.io/team/warmed
stop "$SEAWALL_PID"
mirror status >status.out 2>status.err </dev/null
same "without a server the status fails" 1 "$?"
same "in one line" 1 "$(cat status.out status.err | wc -l)"
finish

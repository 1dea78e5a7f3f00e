# shellcheck shell=bash
# Sourced by every suite: checks that print one line, servers that are started, stopped and killed, and cleaning up.
# A suite runs in a folder of its own ($HERE) on free ports; nothing outside that folder is touched.

set -u -o pipefail
: "${E2E_DIR:?run the suites through e2e/run}" "${SEAWALL:?run the suites through e2e/run}"
# shellcheck source=/dev/null
source "$E2E_STORE/facts"

E2E=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
SUITE=$(basename "$0" .sh)
HERE=$E2E_DIR/$SUITE
PASSED=0 FAILED=0
STARTED=()
PID='' SEAWALL_PID='' UPSTREAM_PID=''
mkdir -p "$HERE" && cd "$HERE" || exit 1
trap clean_up EXIT
trap 'exit 130' INT TERM

# ok and fail print the result of one sentence; check and refuse decide by a command's exit status.
ok() { PASSED=$((PASSED + 1)); echo "ok $*"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $*"; }
check() {
  local sentence=$1; shift
  if "$@" </dev/null >"$HERE/output" 2>&1; then ok "$sentence"; else
    fail "$sentence"; tell_why "$*"
  fi
}
refuse() {
  local sentence=$1; shift
  if "$@" </dev/null >"$HERE/output" 2>&1; then fail "$sentence"; tell_why "succeeded: $*"; else ok "$sentence"; fi
}
same() {
  local sentence=$1 wanted=$2 got=$3
  if [ "$wanted" = "$got" ]; then ok "$sentence"; else fail "$sentence"; echo "     wanted: $wanted"; echo "     got:    $got"; fi
}
tell_why() {
  echo "     $1" | cut -c1-300
  # What panicked, differed or failed, wherever it stands, and the end.
  grep -a -A 1 -e 'panicked at' -e 'the walk failed' -e 'FAILED' "$HERE/output" | head -n 12 | cut -c1-600 | sed 's/^/     > /'
  tail -n 8 "$HERE/output" | sed 's/^/     | /'
}
# The last line of a suite: e2e/run takes the counts from it, and a suite that never gets here has failed.
finish() { echo "$PASSED passed, $FAILED failed"; [ "$FAILED" -eq 0 ]; }

# torture runs the suite of this name of the program in e2e/torture, which prints the same lines, and counts them.
torture() {
  local line result
  gcc -O2 -Wall -Wextra -Werror -o "$HERE/faults" "$E2E/torture/faults.c" || { fail "faults.c cannot be compiled"; return; }
  exec 3< <("$TORTURE" "$SUITE" --seawall "$SEAWALL" --faults "$HERE/faults" --home "$HERE" 2>&1; echo "ended with $?")
  while IFS= read -r line <&3; do
    case $line in
      "ok "*) PASSED=$((PASSED + 1)) ;;
      "FAIL "*) FAILED=$((FAILED + 1)) ;;
      "ended with "*) result=${line##* }; continue ;;
    esac
    echo "$line"
  done
  # A failure was counted when it was printed; a program that ended in another way printed none.
  [ "$result" = 0 ] || [ "$FAILED" -gt 0 ] || fail "the program ended with $result"
}

# free_port prints a port nobody listens on, below the range the kernel gives to outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
}

# until_true SECONDS COMMAND… asks again until the command succeeds; it fails when the seconds are over.
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}
answers() { curl -s -o /dev/null --max-time 2 "http://$1/v2/"; }
is_running() { kill -0 "$1" 2>/dev/null; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# stop PID [SIGNAL] ends a server we started and waits for it; its exit status is in STATUS.
stop() {
  STATUS=0
  exec 8>&2 2>/dev/null # bash would tell of every killed child
  kill "-${2:-TERM}" "$1"
  if ! until_true 20 is_ended "$1"; then echo "     process $1 ignored ${2:-TERM}"; kill -KILL "$1"; fi
  wait "$1"; STATUS=$?
  exec 2>&8 8>&-
}
# A child that has ended stays in the table as a zombie until it is waited for.
is_ended() { is_gone "$1" || grep -q '^State:.Z' "/proc/$1/status"; }

clean_up() {
  local pid mounted
  for pid in "${STARTED[@]}"; do is_running "$pid" && stop "$pid"; done
  cd / || return
  # Deepest first: what a container engine mounted below our folder.
  awk -v here="$HERE/" 'index($2, here) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mounted; do
    umount "$mounted" 2>/dev/null || umount -l "$mounted"
  done
  [ -n "${E2E_KEEP:-}" ] || rm -rf --one-file-system "$HERE"
}

# start_registry NAME ADDRESS FOLDER [YAML] starts Debian's docker-registry on a folder it only reads (unless READONLY is
# false); YAML is added to its configuration. PID is its process; NAME.log below $HERE tells every request, as web servers do.
start_registry() {
  cat >"$HERE/$1.yml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $3}, maintenance: {readonly: {enabled: ${READONLY:-true}}}}
http: {addr: $2}
${4:-}
YAML
  docker-registry serve "$HERE/$1.yml" >>"$HERE/$1.log" 2>&1 &
  PID=$!
  STARTED+=("$PID")
  until_true 15 answers "$2" || { echo "the registry $1 does not start"; tail "$HERE/$1.log"; exit 1; }
}

# The upstream has the store that e2e/run filled.
UPSTREAM=127.0.0.1:$(free_port)
start_upstream() { start_registry upstream "$UPSTREAM" "$E2E_STORE/registry"; UPSTREAM_PID=$PID; }
stop_upstream() { stop "$UPSTREAM_PID" KILL; }

# Seawall mirrors the upstream as docker.io and takes pushes beside it. Its freshness is short, so that the pulls
# with the upstream stopped go the stale way. DATA may be set before the first start.
REGISTRY=127.0.0.1:$(free_port)
DATA=$HERE/data
write_config() {
  cat >"$HERE/seawall.yml" <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $DATA}
  delete: {enabled: true}
http: {addr: $REGISTRY, draintimeout: 10s}
# However full the disk of this machine is.
cache: {minfree: 0}
mirrors:
  - name: docker.io
    endpoints: [http://$UPSTREAM]
    default: true
    freshness: {default: 1s}
YAML
}
# serve NAME ADDRESS runs Seawall on NAME.yml below $HERE, which tells it that address; PID is its process.
serve() {
  "$SEAWALL" serve "$HERE/$1.yml" >>"$HERE/$1.log" 2>&1 </dev/null &
  PID=$!
  STARTED+=("$PID")
  until_true 15 answers "$2" || { echo "seawall does not start"; tail "$HERE/$1.log"; exit 1; }
}
start_seawall() {
  [ -f "$HERE/seawall.yml" ] || write_config
  serve seawall "$REGISTRY"
  SEAWALL_PID=$PID
}
kill_seawall() { stop "$SEAWALL_PID" KILL; }

# status METHOD PATH [curl arguments…] prints the HTTP status; the body is in $HERE/body, the headers in $HERE/headers.
status() {
  local method=$1 path=$2; shift 2
  local head=()
  [ "$method" = HEAD ] && head=(--head)
  curl -s -o "$HERE/body" -D "$HERE/headers" -w '%{http_code}' -X "$method" "${head[@]}" "$@" "$(url "$path")"
}
# A Location may be absolute or begin at the root.
url() { case $1 in http://*) echo "$1" ;; *) echo "http://$REGISTRY$1" ;; esac; }
header() { sed -n "s/^$1: *//Ip" "$HERE/headers" | tr -d '\r' | tail -n 1; }
sha256() { sha256sum "$1" | cut -d' ' -f1; }
ACCEPT=(-H 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
  -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json')
# digest_of REPOSITORY:TAG prints the digest Seawall answers a HEAD of the tag with.
digest_of() { status HEAD "/v2/${1%:*}/manifests/${1##*:}" "${ACCEPT[@]}" >/dev/null; header docker-content-digest; }

# told SECONDS WANTED METHOD ADDRESS PATH passes when the status is as wanted, in time, with an error of the OCI form.
told() {
  local before=$SECONDS got
  got=$(status "$3" "http://$4$5" --max-time 30)
  echo "status $got after $((SECONDS - before)) s: $(cat body)"
  [[ $got =~ ^($2)$ ]] && [ $((SECONDS - before)) -le "$1" ] && { [ "$3" = HEAD ] || jq -e '.errors[0] | .code and .message' body; }
}

# push_blob REPOSITORY FILE prints the status of the PUT that ends an upload in one piece, or of the POST that was refused.
push_blob() {
  local started location
  started=$(status POST "/v2/$1/blobs/uploads/")
  [ "$started" = 202 ] || { echo "$started"; return; }
  location=$(header location)
  case $location in *\?*) location+="&" ;; *) location+="?" ;; esac
  status PUT "${location}digest=sha256:$(sha256 "$2")" -H 'Content-Type: application/octet-stream' --data-binary "@$2"
}

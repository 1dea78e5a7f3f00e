#!/usr/bin/env bash
# The metadata's contract, and every two of its writing operations at once, on a real PostgreSQL. The server is private:
# made in this suite's folder by a user without rights, reached by a socket there, and gone afterwards. The server program
# itself does not run on PostgreSQL yet.

source "$(dirname "$0")/kit.sh"

BIN=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)")
DATABASE=$HERE/postgres
mkdir -m 700 "$DATABASE" && chown nobody "$DATABASE" || exit 1
chmod a+x "$E2E_DIR" "$HERE"

as_nobody() { setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups env -C "$DATABASE" "$@"; }

# Sorted as people read, which is not bytewise: what must be bytewise has to say so.
make_database() {
  as_nobody "$BIN/initdb" -D "$DATABASE/data" -U seawall --auth=trust --no-sync -E UTF8 --locale=C.UTF-8 \
    --locale-provider=icu --icu-locale=en-US
}
start_database() {
  as_nobody "$BIN/postgres" -D "$DATABASE/data" -k "$DATABASE" -c listen_addresses= -c max_connections=200 \
    -c fsync=off >>"$HERE/postgres.log" 2>&1 </dev/null &
  PID=$!
  STARTED+=("$PID")
  until_true 30 as_nobody "$BIN/pg_isready" -q -h "$DATABASE" -U seawall -d postgres
}

check "a private PostgreSQL is made" make_database
start_database || { tail "$HERE/postgres.log"; fail "it starts"; finish; exit 1; }
ok "it starts: $("$BIN/postgres" --version)"

SEAWALL_TEST_POSTGRES="host=$DATABASE user=seawall dbname=postgres"
export SEAWALL_TEST_POSTGRES
cd "$E2E/.." || exit 1
check "the tests are built" cargo test --quiet --package metadata --features postgres --no-run

# run_tests NAME ARGUMENTS… runs some of them; each is a sentence of its own.
run_tests() {
  local log=$HERE/$1.log; shift
  cargo test --quiet --package metadata --features postgres -- --format=pretty "$@" >"$log" 2>&1 </dev/null
  while read -r name result; do
    if [ "$result" = ok ]; then ok "${name//_/ }"; else fail "${name//_/ }"; fi
  done < <(sed -nE 's/^test (.*::)?([a-z0-9_]+) \.\.\. (ok|FAILED)$/\2 \3/p' "$log")
  grep -qE '^test result: ok\. [1-9][0-9]* passed; 0 failed; 0 ignored' "$log" && return
  fail "these tests come to their end"
  grep -A 30 -E '^(failures:|error)' "$log" | cut -c1-400 | head -n 100
}
run_tests contract postgres --skip interleaved
# Alone: beside a transaction that takes long the server refuses more than it would have to, and all of it is tried again.
run_tests interleaved interleaved::on_postgres
same "every schema of theirs is gone" 0 \
  "$("$BIN/psql" -h "$DATABASE" -U seawall -d postgres -Atc "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'seawall_test_%'")"
finish

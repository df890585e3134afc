#!/bin/bash
# What the official image's documentation says of its start: make the database if PGDATA is empty, then become the server.
set -euo pipefail

case "${1:-postgres}" in
-*) set -- postgres "$@" ;;
esac
[ "$1" = postgres ] || exec "$@"
for argument; do
  case "$argument" in --help | --version | --describe-config | -V | -'?') exec "$@" ;; esac
done

if [ "$(id -u)" = 0 ]; then # the server refuses to run as root
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

read_variable() { # name, default: the variable, or what the file in NAME_FILE holds
  local file="$1_FILE"
  if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
    echo "error: both $1 and $file are set" >&2
    exit 1
  fi
  if [ -n "${!file:-}" ]; then export "$1=$(<"${!file}")"; else export "$1=${!1:-$2}"; fi
  unset "$file"
}

initialise() {
  read_variable POSTGRES_PASSWORD ''
  read_variable POSTGRES_USER postgres
  read_variable POSTGRES_DB "$POSTGRES_USER"
  read_variable POSTGRES_INITDB_ARGS ''
  local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
    echo "error: the database is empty and POSTGRES_PASSWORD is not set" >&2
    exit 1
  fi
  eval "options=(${POSTGRES_INITDB_ARGS:-})"
  [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || options+=(--waldir "$POSTGRES_INITDB_WALDIR")
  [ -z "$POSTGRES_PASSWORD" ] || options+=(--pwfile=/dev/fd/3)
  (
    if ! getent passwd "$(id -u)" >/dev/null; then # initdb wants a name for any user id
      NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
      echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
      echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
      export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP LD_PRELOAD=libnss_wrapper.so
    fi
    initdb -D "$PGDATA" --username="$POSTGRES_USER" "${options[@]}" 3< <(printf '%s\n' "$POSTGRES_PASSWORD")
  )
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
  PGPASSWORD=$POSTGRES_PASSWORD pg_ctl -D "$PGDATA" -w -o "$(printf '%q ' "${@:2}" -c listen_addresses=)" start
  export PGPASSWORD=$POSTGRES_PASSWORD PGHOST='' PGUSER=$POSTGRES_USER
  [ "$POSTGRES_DB" = postgres ] || createdb --maintenance-db=postgres "$POSTGRES_DB"
  export PGDATABASE=$POSTGRES_DB
  local file
  for file in /docker-entrypoint-initdb.d/*; do run_script "$file"; done
  unset PGPASSWORD PGHOST PGUSER PGDATABASE
  pg_ctl -D "$PGDATA" -m fast -w stop
}

run_script() {
  local sql=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc)
  case "$1" in
  *.sh) if [ -x "$1" ]; then "$1"; else . "$1"; fi ;;
  *.sql) "${sql[@]}" -f "$1" ;;
  *.sql.gz) gunzip -c "$1" | "${sql[@]}" ;;
  *.sql.xz) xz -dc "$1" | "${sql[@]}" ;;
  *.sql.zst) zstd -dc "$1" | "${sql[@]}" ;;
  esac
}

mkdir -p "$PGDATA"
chmod 700 "$PGDATA" || true # a mounted folder may belong to another user whose group may write
[ -s "$PGDATA/PG_VERSION" ] || initialise "$@"
exec "$@"

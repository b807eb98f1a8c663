# The entrypoint of an image of PostgreSQL, as far as tests need it: a cluster made at the first start after the
# variables POSTGRES_PASSWORD, POSTGRES_USER and POSTGRES_DB, and the server on the pod's own address.
set -eu
: "${PGDATA:=$HOME/data}" "${POSTGRES_USER:=postgres}"
: "${POSTGRES_PASSWORD:?is not set}"
[ "${1-}" != postgres ] || shift
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf '%s\n' "$POSTGRES_PASSWORD" >"$HOME/.password"
    initdb --username="$POSTGRES_USER" --pwfile="$HOME/.password" --auth-host=scram-sha-256 --auth-local=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync --no-instructions --pgdata="$PGDATA"
    rm "$HOME/.password"
    printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    if [ "${POSTGRES_DB:=$POSTGRES_USER}" != postgres ]; then
        printf 'create database "%s";\n' "$POSTGRES_DB" | postgres --single -D "$PGDATA" postgres >/dev/null
    fi
fi
# mmap: with System V memory or POSIX memory something of a killed server would stay on the machine.
exec postgres -D "$PGDATA" -c listen_addresses="$ROTA_POD_IP" -c unix_socket_directories="$HOME" \
    -c dynamic_shared_memory_type=mmap -c fsync=off -c shared_buffers=32MB "$@"

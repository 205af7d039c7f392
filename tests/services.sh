#!/usr/bin/env bash
# Sees to it that the servers which the tests talk to answer on 127.0.0.1: PostgreSQL, MariaDB,
# Redis, RabbitMQ. One that answers is left alone; one that does not is installed from Debian's
# packages if need be, and started. Varnish is installed alone: tests start one of their own. Needs
# root only where there is something to do.
set -euo pipefail

# shellcheck source=tests/packages.sh
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"
patience=90

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_until NAME COMMAND...: until the command succeeds, and not for ever.
wait_until() {
    local name=$1 deadline=$((SECONDS + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$name was started but does not answer after $patience" \
            "seconds."
        sleep 0.5
    done
}

psql_works() { psql --host=127.0.0.1 --username=postgres --no-password --no-psqlrc "$@"; }

postgres_trusts() { psql_works --dbname=postgres --command='SELECT 1' >/dev/null 2>&1; }

postgres() {
    if ! answers 5432; then
        install_packages postgresql
        need_root PostgreSQL
        local version
        version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V |
            tail -n 1)
        pg_lsclusters --no-header | grep -q "^$version  *main " ||
            pg_createcluster --port=5432 "$version" main >/dev/null
        pg_ctlcluster --skip-systemctl-redirect "$version" main start ||
            fail "PostgreSQL could not be started; see /var/log/postgresql."
        wait_until PostgreSQL answers 5432
    fi
    command -v psql >/dev/null || install_packages postgresql-client
    if ! postgres_trusts; then
        need_root "PostgreSQL's access for the user postgres"
        local access
        access=$(runuser -u postgres -- psql --no-psqlrc --tuples-only --no-align \
            --command='SHOW hba_file') || fail "PostgreSQL answers but lets nobody in."
        # The first line that matches decides.
        sed -i '1i host all all 127.0.0.1/32 trust' "$access"
        runuser -u postgres -- psql --no-psqlrc --quiet --output=/dev/null \
            --command='SELECT pg_reload_conf()'
        wait_until "PostgreSQL (user postgres, no password)" postgres_trusts
    fi
    if [[ -z $(psql_works --dbname=postgres --tuples-only \
        --command="SELECT 1 FROM pg_database WHERE datname = 'test'") ]]; then
        psql_works --dbname=postgres --quiet --command='CREATE DATABASE test'
    fi
}

mariadb_works() { mariadb --no-defaults --protocol=tcp --host=127.0.0.1 --user=root "$@"; }

mariadb_lets_in() { mariadb_works --execute='SELECT 1' >/dev/null 2>&1; }

mariadb_server() {
    if ! answers 3306; then
        install_packages mariadb-server
        need_root MariaDB
        install --directory --owner=mysql --group=mysql /run/mysqld
        [[ -d /var/lib/mysql/mysql ]] || mariadb-install-db --user=mysql >/dev/null
        # The options say what a Debian configuration may deny: TCP, on this address and port.
        start-stop-daemon --start --quiet --background --chuid mysql \
            --exec "$(command -v mariadbd)" -- \
            --skip-networking=0 --bind-address=127.0.0.1 --port=3306 ||
            fail "MariaDB could not be started."
        wait_until MariaDB answers 3306
    fi
    command -v mariadb >/dev/null || install_packages mariadb-client
    if ! mariadb_lets_in; then
        need_root "MariaDB's access for the user root"
        # Over TCP root is asked for a password; over the socket Debian's own scripts stay root.
        mariadb --no-defaults --user=root --execute="
            ALTER USER root@localhost
                IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('');
            CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '';
            GRANT ALL PRIVILEGES ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
        " || fail "MariaDB answers but lets nobody in."
        wait_until "MariaDB (user root, no password)" mariadb_lets_in
    fi
    mariadb_works --execute='CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4'
}

redis() {
    answers 6379 && return
    install_packages redis-server
    redis-server --daemonize yes --bind 127.0.0.1 --port 6379 --save '' --appendonly no \
        --dir "${TMPDIR:-/tmp}" >/dev/null || fail "Redis could not be started."
    wait_until Redis answers 6379
}

rabbitmq() {
    answers 5672 && return
    install_packages rabbitmq-server
    need_root RabbitMQ
    rabbitmq-server -detached >/dev/null 2>&1 || fail "RabbitMQ could not be started; see" \
        "/var/log/rabbitmq."
    wait_until RabbitMQ answers 5672
}

varnish() {
    # Debian's package starts one on port 6081 where there is a systemd; no test talks to it.
    command -v varnishd >/dev/null || install_packages varnish
    # It compiles its configuration.
    command -v gcc >/dev/null || install_packages gcc libc6-dev
    varnishd -V >/dev/null 2>&1 || fail "varnishd is installed and does not run."
}

step() {
    local name=$1 started=$SECONDS
    shift
    "$@"
    say "$name answers ($((SECONDS - started)) s)"
}

step PostgreSQL postgres
step MariaDB mariadb_server
step Redis redis
step RabbitMQ rabbitmq
step Varnish varnish
# The tests start one of their own.
command -v memcached >/dev/null || install_packages memcached
command -v pgbouncer >/dev/null || install_packages pgbouncer
# mysqlclient comes as source and is compiled.
install_packages default-libmysqlclient-dev gcc pkg-config

#!/bin/sh
# Start and end the servers of docker-compose.yml. `make stack` and `make unstack` call this.
#
#   infra/compose/stack.sh secrets   write .env with random passwords, unless it is there
#   infra/compose/stack.sh up        secrets, images, containers; returns when all are healthy
#   infra/compose/stack.sh down      end the containers; the volumes stay
set -eu

cd "$(dirname "$0")/../.."

say() { printf '%s\n' "strata stack: $*" >&2; }
die() { say "$*"; exit 3; }

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Never overwritten: the databases keep the password they were made with.
write_secrets() {
    if [ ! -e .env ]; then
        (
            umask 077
            set -C
            printf '%s\n' \
                "POSTGRES_PASSWORD=$(random 24)" \
                "S3_ACCESS_KEY=$(random 10)" \
                "S3_SECRET_KEY=$(random 24)" \
                "GATEWAY_PASSWORD=$(random 24)" >.env
        )
        say "wrote .env with new passwords, readable by you alone"
    fi
    [ "$(stat -c %a .env)" = 600 ] || die ".env holds passwords: run  chmod 600 .env"
    for name in POSTGRES_PASSWORD S3_ACCESS_KEY S3_SECRET_KEY GATEWAY_PASSWORD; do
        grep -q "^$name=." .env || die ".env has no $name: add a line $name=VALUE," \
            "or move .env away to have new passwords written (with new volumes)"
    done
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    elif command -v docker-compose >/dev/null 2>&1; then
        docker-compose "$@"
    else
        die "docker compose is missing: install Docker with its compose plugin"
    fi
}

# port NAME DEFAULT: the port that .env or the environment chooses.
port() {
    value=$(printenv "$1" || sed -n "s/^$1=//p" .env)
    echo "${value:-$2}"
}

# wait_for SERVER COMMAND...: until the command succeeds, two minutes at most.
wait_for() {
    server=$1 tries=60
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || die "$server is not well: see  docker compose logs $server"
        sleep 2
    done
}

up() {
    write_secrets
    docker info >/dev/null 2>&1 || die "no Docker daemon answers: start it, or set DOCKER_HOST"
    COMMIT=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
    CODE=$(.venv/bin/python -m components.execution.image_code)
    export COMMIT CODE
    compose build
    compose up --detach
    # The gateway waits for the servers behind it, and is well when it asks for a login.
    healthy="python /strata/infra/images/healthy.py"
    wait_for gateway compose exec -T gateway $healthy http://127.0.0.1:8501/ 401
    wait_for worker compose exec -T worker $healthy http://127.0.0.1:8080/health
    printf '%-10s %s\n' \
        prefect "http://127.0.0.1:$(port PREFECT_PORT 4200)" \
        mlflow "http://127.0.0.1:$(port MLFLOW_PORT 5000)" \
        dashboard "http://127.0.0.1:$(port DASHBOARD_PORT 8501)"
    say "log in as strata, with the GATEWAY_PASSWORD of .env"
}

case "${1:-}" in
secrets) write_secrets ;;
up) up ;;
down) compose down ;;
*) die "usage: infra/compose/stack.sh secrets | up | down" ;;
esac

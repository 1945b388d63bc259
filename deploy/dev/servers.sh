# shellcheck shell=bash
# One node each of PostgreSQL, Redis and Apache Kafka, and if asked for Jaeger and Prometheus, on loopback ports, with everything they write in one folder.
# `./dev up` keeps its own under .dev/servers; a test run has a set in a temporary folder, and so has a test that stops
# and starts servers while it runs.
#
#   DIR/settings         ports and purpose ("dev" or "test"), chosen at the first start
#   DIR/NAME.pid         which process it is
#   DIR/NAME.log         what it said since its last start
#   DIR/NAME/            its data

ALL_SERVERS="postgres redis kafka"

servers_command() {
    local verb=${1-} dir=${2-} only="" ports="" owner="" signal="" keep=""
    if [[ ! $verb =~ ^(start|stop|watch)$ || -z $dir || $dir == -* ]]; then
        fail "servers needs a verb and a folder" "./dev servers start|stop DIR [--only postgres,redis,kafka]"
    fi
    shift 2
    while (($# > 0)); do
        case $1 in
            --only) only=${2//,/ } && shift ;;
            --ports) ports=$2 && shift ;;
            --owner) owner=$2 && shift ;;
            --signal) signal=$2 && shift ;;
            --keep) keep=yes ;;
            *) fail "servers $verb does not know '$1'" "./dev help" ;;
        esac
        shift
    done
    for name in $only; do
        [[ " $ALL_SERVERS $OBSERVERS " == *" $name "* ]] || fail "there is no server '$name'" "choose from $ALL_SERVERS $OBSERVERS"
    done
    dir=$(realpath -m "$dir")
    case $verb in
        start)
            write_settings "$dir" test "${ports:-$(free_server_ports)}"
            servers_start "$dir" "${only:-$ALL_SERVERS}"
            if [[ -n $owner ]]; then servers_guard "$dir" "$owner"; fi
            servers_environment "$dir" "${only:-$ALL_SERVERS}"
            ;;
        stop)
            # Without --only the set is done with: nothing that it wrote is worth a clean shutdown, or keeping.
            if [[ -z $only && -z $keep ]]; then
                servers_remove "$dir"
            else
                servers_stop "$dir" "${only:-$ALL_SERVERS}" "$signal"
            fi
            ;;
        watch)
            servers_watch "$dir" "$owner"
            ;;
    esac
}

# Ports are chosen once, so that a server that was stopped is found where it was.
write_settings() { # DIR PURPOSE POSTGRES,REDIS,KAFKA[,KAFKA_CONTROLLER]
    local ports
    if [[ -e $1/settings ]]; then return; fi
    if [[ -e $1 && -n $(ls -A "$1") && $2 == test ]]; then
        fail "$1 has other things in it" "name a new folder or an empty one"
    fi
    mkdir -p "$1"
    IFS=, read -r -a ports <<<"$3"
    printf '%s\n' "PURPOSE=$2" "POSTGRES_PORT=${ports[0]}" "REDIS_PORT=${ports[1]}" "KAFKA_PORT=${ports[2]}" \
        "KAFKA_CONTROLLER_PORT=${ports[3]-$((ports[2] + 1))}" >"$1/settings"
}

# Starts what is named and does not run yet, all at once, each with the port it had before.
servers_start() { # DIR NAMES
    local dir=$1 names=$2 name failed="" jobs=()
    install_servers "$names"
    # PostgreSQL may run as another user than the one who made this folder, perhaps as a temporary one with mode 700.
    chmod a+x "$dir"
    for name in $names; do
        if running_process "$dir/$name.pid" >/dev/null; then continue; fi
        observer_ports "$dir" "$name"
        background "start_$name" "$dir"
        jobs+=("$!")
    done
    for name in "${jobs[@]}"; do
        wait "$name" || failed=yes
    done
    # Each has said why.
    if [[ -n $failed ]]; then exit 1; fi
}

setting() { sed -n "s/^$2=//p" "$1/settings"; } # DIR NAME

servers_environment() { # DIR NAMES
    local name
    for name in $2; do
        case $name in
            postgres) echo "TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:$(setting "$1" POSTGRES_PORT)/postgres" ;;
            redis) echo "TEST_REDIS_URL=redis://127.0.0.1:$(setting "$1" REDIS_PORT)" ;;
            kafka) echo "TEST_KAFKA_BROKERS=127.0.0.1:$(setting "$1" KAFKA_PORT)" ;;
            jaeger)
                echo "TEST_JAEGER_URL=http://127.0.0.1:$(setting "$1" JAEGER_PORT)"
                echo "TEST_OTLP_URL=http://127.0.0.1:$(setting "$1" OTLP_PORT)"
                ;;
            prometheus) echo "TEST_PROMETHEUS_URL=http://127.0.0.1:$(setting "$1" PROMETHEUS_PORT)" ;;
        esac
    done
}

# A port that is taken before the start would end in the server's own, longer message.
require_free_port() { # NAME PORT WHERE_TO_CHANGE_IT
    if port_taken "$2"; then
        fail "$1 cannot listen on port $2: $(who_listens "$2") does already" "stop that process, or change $3"
    fi
}

did_not_start() { # DIR NAME
    stop_process "$1/$2.pid" KILL 0
    say "${FAIL_AS-error}: $2 did not start. Mend it: see why in $1/$2.log, which ends with"
    tail -n 5 "$1/$2.log" | sed 's/^/    /' >&2
    exit 1
}

# --- PostgreSQL ---------------------------------------------------------------------------------------------------

start_postgres() { # DIR
    local dir=$1 data=$1/postgres port bin options
    port=$(setting "$dir" POSTGRES_PORT)
    require_free_port postgres "$port" "the port in $dir/settings"
    bin=$(postgres_bin "$(cat "$data/PG_VERSION" 2>/dev/null || true)")
    choose_postgres_user "$dir"
    wait_for_reaping "$data/postmaster.pid"
    if [[ ! -e $data/PG_VERSION ]]; then create_cluster "$dir" "$bin"; fi
    # TCP on loopback only: a socket's path may be longer than the kernel allows, and /tmp belongs to everybody.
    options=(-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c timezone=UTC -c jit=off)
    if [[ $(setting "$dir" PURPOSE) == test ]]; then
        # A killed server loses nothing by this, only a crashed machine would. Tests open many small pools at once.
        options+=(-c fsync=off -c full_page_writes=off -c max_connections=400)
    else
        options+=(-c max_connections=200 -c shared_buffers=256MB)
    fi
    # Notes when each transaction was committed.
    if [[ -n $(setting "$dir" COMMIT_TIMES) ]]; then options+=(-c track_commit_timestamp=on); fi
    launch "$dir/postgres.pid" "$dir/postgres.log" \
        "${AS_POSTGRES[@]}" "$bin/postgres" -D "$data" -p "$port" "${options[@]}"
    wait_until 30 "$dir/postgres.pid" "$bin/pg_isready" -q -t 1 -h 127.0.0.1 -p "$port" || did_not_start "$dir" postgres
}

# PostgreSQL refuses to run as root, which then starts it as the user that the package made. That user may be unable to
# reach the folder at all (a checkout below /root): the server then gets the one capability that lets it pass.
choose_postgres_user() { # DIR
    AS_POSTGRES=()
    if ((EUID != 0)); then return; fi
    id -u postgres >/dev/null 2>&1 || fail "there is no user 'postgres' to run PostgreSQL as" "useradd --system postgres"
    # `test -e` on the dot: `test -x` asks access(2), which knows nothing of capabilities.
    AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    if ! "${AS_POSTGRES[@]}" test -e "$1/."; then
        AS_POSTGRES+=(--inh-caps=+dac_override --ambient-caps=+dac_override)
        "${AS_POSTGRES[@]}" test -e "$1/." 2>/dev/null ||
            fail "the user 'postgres' cannot reach $1" "move this checkout to a folder that other users may enter"
    fi
}

# A killed server stays in the process table until init looks at it, and until then PostgreSQL takes it for alive.
wait_for_reaping() { # LOCK_FILE
    local pid deadline=$((SECONDS + 10))
    pid=$(head -n 1 "$1" 2>/dev/null) || return 0
    while [[ -e /proc/$pid ]] && ! process_start_time "$pid" >/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
}

create_cluster() { # DIR BIN
    local data=$1/postgres
    rm -rf "$data"
    mkdir -m 700 "$data"
    if ((EUID == 0)); then chown postgres: "$data"; fi
    # Not flushing to disk saves a second; the servers of `./dev up` flush from their first start on.
    (cd / && "${AS_POSTGRES[@]}" "$2/initdb" --no-sync --username=postgres --encoding=UTF8 --no-locale --auth=trust "$data") \
        >"$1/initdb.log" 2>&1 ||
        fail "initdb failed" "see why in $1/initdb.log"
    # The services' roles give their passwords, as anywhere else. The superuser needs none in a test; in the servers of
    # `./dev up` it does, since everybody on this machine reaches the port and it may run programs.
    if [[ $(setting "$1" PURPOSE) == test ]]; then
        echo "host all postgres 127.0.0.1/32 trust" >"$data/pg_hba.conf"
    else
        (umask 077 && head -c 16 /dev/urandom | base64 | tr -d '+/=' >"$1/postgres.password")
        (cd / && "${AS_POSTGRES[@]}" "$2/postgres" --single -D "$data" postgres) >>"$1/initdb.log" 2>&1 \
            <<<"ALTER ROLE postgres PASSWORD '$(cat "$1/postgres.password")'" ||
            fail "PostgreSQL took no password for its superuser" "see why in $1/initdb.log"
        : >"$data/pg_hba.conf"
    fi
    echo "host all all 127.0.0.1/32 scram-sha-256" >>"$data/pg_hba.conf"
}

# As the superuser: psql ... DATABASE
postgres_psql() { # DIR ARGUMENT...
    local dir=$1
    shift
    PGPASSWORD=$(cat "$dir/postgres.password" 2>/dev/null || true) PGCONNECT_TIMEOUT=10 \
        psql -X -q -h 127.0.0.1 -p "$(setting "$dir" POSTGRES_PORT)" -U postgres "$@"
}

# Roles and databases, as often as wanted: "exists already" is not an error here, anything else is.
create_databases() { # DIR [FILE]
    local errors
    errors=$(postgres_psql "$1" -v VERBOSITY=sqlstate -f "${2:-$ROOT/deploy/postgres/databases.sql}" postgres 2>&1 |
        grep -v -E 'ERROR: +(42710|42P04)$' || true)
    if [[ -n $errors ]]; then fail "the databases could not be created ($errors)" "see $1/postgres.log"; fi
}

# --- Redis --------------------------------------------------------------------------------------------------------

start_redis() { # DIR
    local dir=$1 port
    port=$(setting "$dir" REDIS_PORT)
    require_free_port redis "$port" "the port in $dir/settings"
    mkdir -p "$dir/redis"
    # It is a cache: nothing in it is worth writing down, and it starts empty.
    launch "$dir/redis.pid" "$dir/redis.log" redis-server --bind 127.0.0.1 --port "$port" --dir "$dir/redis" \
        --save "" --appendonly no --maxmemory 256mb --maxmemory-policy allkeys-lru
    wait_until 15 "$dir/redis.pid" redis_answers "$port" || did_not_start "$dir" redis
}

redis_answers() { [[ $(timeout 2 redis-cli -h 127.0.0.1 -p "$1" ping 2>/dev/null) == PONG ]]; }

# --- Kafka --------------------------------------------------------------------------------------------------------

start_kafka() { # DIR
    local dir=$1 port controller libs java properties
    port=$(setting "$dir" KAFKA_PORT)
    controller=$(setting "$dir" KAFKA_CONTROLLER_PORT)
    require_free_port kafka "$port" "the port in $dir/settings"
    require_free_port kafka "$controller" "the port in $dir/settings"
    libs=$(kafka_libs)
    java=("$(java_bin)" -cp "$libs/*" "-Dlog4j2.configurationFile=$ROOT/deploy/kafka/log4j2.xml")
    properties=$dir/kafka/server.properties
    mkdir -p "$dir/kafka"
    {
        cat "$ROOT/deploy/kafka/server.properties"
        printf '%s\n' "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller" \
            "controller.quorum.voters=1@127.0.0.1:$controller" "log.dirs=$dir/kafka/data"
    } >"$properties"
    if [[ ! -e $dir/kafka/data/meta.properties ]]; then
        "${java[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format \
            --cluster-id "$(kafka_cluster_id)" --config "$properties" >"$dir/kafka.log" 2>&1 || did_not_start "$dir" kafka
    fi
    if [[ $(setting "$dir" PURPOSE) == test ]]; then
        # Up in the least time and memory; a test never sends enough for the better compiler to pay.
        java+=(-Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
    else
        java+=(-Xms256m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20)
    fi
    launch "$dir/kafka.pid" "$dir/kafka.log" "${java[@]}" kafka.Kafka "$properties"
    wait_until 60 "$dir/kafka.pid" grep -q "Kafka Server started" "$dir/kafka.log" || did_not_start "$dir" kafka
}

# 16 random bytes in Kafka's form of base64. An id may not begin with a dash, which would read as an option.
kafka_cluster_id() {
    local id=-
    while [[ $id == -* ]]; do id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='); done
    echo "$id"
}

# --- Stopping -----------------------------------------------------------------------------------------------------

# Kafka first: what uses nothing else goes first, and it takes longest.
servers_stop() { # DIR NAMES [SIGNAL]
    local dir=$1 names=$2 signal=${3-} name jobs=()
    for name in $names; do
        case $name in
            # For PostgreSQL INT means: end the sessions, write everything down, stop. TERM would wait for the clients.
            postgres) stop_process "$dir/postgres.pid" "${signal:-INT}" 20 & ;;
            redis) stop_process "$dir/redis.pid" "${signal:-TERM}" 10 & ;;
            kafka) stop_process "$dir/kafka.pid" "${signal:-TERM}" 20 & ;;
            jaeger | prometheus) stop_process "$dir/$name.pid" "${signal:-TERM}" 10 & ;;
        esac
        jobs+=($!)
    done
    wait "${jobs[@]}"
}

servers_remove() { # DIR
    if [[ ! -e $1 ]]; then return; fi
    # The folder is removed with all that is in it, so it must be one of ours.
    [[ -e $1/settings ]] || fail "$1 holds no servers" "name the folder that was given to ./dev servers start"
    stop_process "$1/guard.pid" KILL 0
    servers_stop "$1" "$ALL_SERVERS $OBSERVERS" KILL
    rm -rf "$1"
}

# A test run that is killed cannot tidy up. So a guard waits for the end of that process and does it then.
servers_guard() { # DIR PID
    if running_process "$1/guard.pid" >/dev/null; then return; fi
    launch "$1/guard.pid" /dev/null "$ROOT/dev" servers watch "$1" --owner "$2"
}

servers_watch() { # DIR PID
    local started
    started=$(process_start_time "$2") || started=gone
    while [[ $started != gone && $(process_start_time "$2") == "$started" ]]; do sleep 0.5; done
    # Not through the guard's own file: it names this very process.
    rm -f "$1/guard.pid"
    servers_remove "$1"
}

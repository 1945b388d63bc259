# shellcheck shell=bash
# ./dev bench: how fast the relay, the consumer runtime, product reads and orders are, and what tracing costs, on servers of its own.
#
# PostgreSQL and Kafka, for orders Redis too, for tracing Redis and Jaeger, for products PostgreSQL and Redis, run with the settings of `./dev up`, flushing to disk included, with all data in a temporary
# folder and on free ports. The data of `./dev up` is never touched and both may run side by side, though they then share the processors: for figures to
# quote, nothing else should run. The settings are those of the code or, for tracing, of .env.example, whatever .env or the environment says.

# In the order in which `./dev bench` runs all of them.
BENCHES="relay consumer products orders tracing"
BENCH_USAGE="./dev bench [relay|consumer|products|orders|tracing] [--quick] [--json FILE] [--only PART,..]; tracing also takes [--shares SHARE,..]; without a name all of them, [--quick] [--json FOLDER]"

bench_command() {
    local what=${1-} arguments=() last=() status=0 name
    if [[ -z $what || $what == --* ]]; then
        bench_all "$@"
        return
    fi
    [[ " $BENCHES " == *" $what "* ]] || fail "bench does not know what '$what' is" "$BENCH_USAGE"
    shift
    while (($# > 0)); do
        case $1 in
            --quick) arguments+=(--quick) && shift && continue ;;
            --shares) [[ $what == tracing ]] || fail "bench $what does not know '$1'" "$BENCH_USAGE" ;;&
            --only) [[ $what != products ]] || fail "bench products has no parts" "$BENCH_USAGE" ;;&
            --json | --only | --shares) [[ -n ${2-} ]] || fail "$1 needs a value" "$BENCH_USAGE" ;;&
            --json) arguments+=(--json "$(realpath -m "$2")") ;;
            --only | --shares) arguments+=("$1" "$2") ;;
            *) fail "bench does not know '$1'" "$BENCH_USAGE" ;;
        esac
        shift 2
    done
    require_own_folders
    install_all
    # Who says where the programs are has built them.
    build_services
    BENCH=$(mktemp -d "${TMPDIR:-/tmp}/orderflow-bench-XXXXXX")
    AT_EXIT+=("servers_remove '$BENCH'")
    case $what in
        relay)
            bench_engine
            arguments+=(--folder "$BENCH" --relay "$(service_binary outbox-relay)")
            # Numbers as English writes them, whatever the locale; the rest of the line is the command, so this is last.
            last=(--producer-perf "$(java_bin)" -Duser.language=en "-Dlog4j2.configurationFile=$ROOT/deploy/kafka/log4j2.xml"
                -cp "$(kafka_libs)/*" org.apache.kafka.tools.ProducerPerformance)
            ;;
        consumer) bench_engine ;;
        orders)
            # When an effect was committed is what this benchmark asks PostgreSQL for.
            COMMIT_TIMES=yes bench_system "postgres redis kafka"
            arguments+=(--folder "$LOGS" --programs "$PROGRAMS" --redis-pid "$(running_process "$BENCH/redis.pid")"
                --pgbench "$(postgres_bin "")/pgbench")
            ;;
        products)
            bench_reads
            arguments+=(--log "$BENCH/logs/order-api.log" --redis-pid "$(running_process "$BENCH/redis.pid")")
            name=$(command -v redis-benchmark) && arguments+=(--redis-benchmark "$name")
            ;;
        tracing)
            bench_system "postgres redis kafka jaeger"
            arguments+=(--folder "$LOGS" --programs "$PROGRAMS" --collector "http://127.0.0.1:$OTLP_PORT")
            for name in redis jaeger; do arguments+=("--$name-pid" "$(running_process "$BENCH/$name.pid")"); done
            ;;
    esac
    if [[ $what != products ]]; then
        for name in postgres kafka; do arguments+=("--$name-pid" "$(running_process "$BENCH/$name.pid")"); done
    fi
    while read -r name; do arguments+=(--about "$name"); done < <(bench_about)
    run "$(service_binary loadtest)" bench "$what" "${arguments[@]}" "${last[@]}" || status=$?
    if ((status != 0)); then bench_last_words; fi
    return "$status"
}

# All of them, one after the other, each on servers of its own. The last of its words is what failed, if anything did.
bench_all() {
    local folder="" quick=() what failed=""
    while (($# > 0)); do
        case $1 in
            --quick) quick=(--quick) && shift ;;
            --json)
                [[ -n ${2-} ]] || fail "--json needs a folder" "$BENCH_USAGE"
                folder=$(realpath -m "$2")
                mkdir -p "$folder" || fail "$folder cannot be made" "name another folder"
                shift 2
                ;;
            *) fail "all benchmarks together do not know '$1'" "$BENCH_USAGE" ;;
        esac
    done
    for what in $BENCHES; do
        run "$ROOT/dev" bench "$what" "${quick[@]}" ${folder:+--json "$folder/$what.json"} || failed+=" $what"
    done
    if [[ -n $failed ]]; then fail "could not be finished:$failed" "see above why"; fi
}

# What a reader of a report should know of where it was made.
bench_about() {
    local dirty=""
    if [[ -n $(git -C "$ROOT" status --porcelain 2>/dev/null) ]]; then dirty="-dirty"; fi
    echo "commit=$(git -C "$ROOT" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$dirty"
    echo "rustc=$(rustc --version | cut -d ' ' -f 2)"
    echo "postgres=$("$(postgres_bin "")/postgres" --version | grep -o '[0-9][0-9.]*' | head -n 1)"
    echo "kafka=$(kafka_version)"
    echo "redis=$(redis-server --version | grep -o 'v=[0-9.]*' | cut -d = -f 2)"
    echo "java=$("$(java_bin)" -version 2>&1 | grep -o '"[^"]*"' | tr -d '"' | head -n 1)"
}

# Servers for the relay or the consumer runtime alone.
bench_engine() {
    write_settings "$BENCH" dev "$(free_server_ports)"
    bench_servers "postgres kafka"
    forget_settings
    ORDERS_DATABASE_URL=postgres://orders:orders@127.0.0.1:$(setting "$BENCH" POSTGRES_PORT)/orders
    KAFKA_BROKERS=127.0.0.1:$(setting "$BENCH" KAFKA_PORT)
    export ORDERS_DATABASE_URL KAFKA_BROKERS
}

# Servers for product reads.
bench_reads() {
    write_settings "$BENCH" dev "$(free_server_ports)"
    mkdir -p "$BENCH/logs"
    bench_servers "postgres redis"
    forget_settings
    ORDERS_DATABASE_URL=postgres://orders:orders@127.0.0.1:$(setting "$BENCH" POSTGRES_PORT)/orders
    REDIS_URL=redis://127.0.0.1:$(setting "$BENCH" REDIS_PORT)
    export ORDERS_DATABASE_URL REDIS_URL
}

# Servers for the whole system, whose programs loadtest starts.
bench_system() { # NAMES
    load_settings_on_free_ports
    # shellcheck disable=SC2034 # Read in stack.sh.
    SERVERS=$BENCH LOGS=$BENCH/logs
    export PROVIDER_SIM_JOURNAL=$BENCH/provider-sim.jsonl
    mkdir -p "$LOGS"
    write_settings "$BENCH" dev "$POSTGRES_PORT,$REDIS_PORT,$KAFKA_PORT"
    if [[ -n ${COMMIT_TIMES-} ]]; then echo COMMIT_TIMES=yes >>"$BENCH/settings"; fi
    bench_servers "$1"
    prepare_data
    # So that no order meets an empty shelf.
    with_progress "Restocking" "$LOGS/restock.log" "$(service_binary ops)" restock all 1000000 ||
        fail "the stock could not be filled" "see why above"
}

# They end with this command.
bench_servers() { # NAMES
    # For the case that this very script is killed.
    servers_guard "$BENCH" $$
    say "Starting servers for the benchmark: ${1// /, }"
    servers_start "$BENCH" "$1"
    create_databases "$BENCH"
    # So that a measurement does not pay for what was written before it.
    postgres_psql "$BENCH" -c "GRANT pg_checkpoint TO orders" postgres || fail "PostgreSQL refused a grant" "see $BENCH/postgres.log"
}

bench_last_words() {
    local log
    for log in "$BENCH/relay.log" "$BENCH"/logs/*.log; do
        if [[ -s $log ]]; then
            say "What $(basename "$log" .log) said last:"
            tail -n 10 "$log" | sed 's/^/    /' >&2
        fi
    done
}

# shellcheck shell=bash
# ./dev bench: how fast the relay and the consumer runtime are, on servers of its own.
#
# PostgreSQL and Kafka run with the settings of `./dev up`, flushing to disk included, with all data in a temporary folder and on free
# ports. The data of `./dev up` is never touched and both may run side by side, though they then share the processors: for figures to
# quote, nothing else should run. The settings are those of the code, whatever .env or the environment says.

BENCH_USAGE="./dev bench relay|consumer [--quick] [--json FILE] [--only PART,..]"

bench_command() {
    local what=${1-} arguments=() status=0
    [[ $what == relay || $what == consumer ]] || fail "bench needs to know what to measure" "$BENCH_USAGE"
    shift
    while (($# > 0)); do
        case $1 in
            --quick) arguments+=(--quick) && shift && continue ;;
            --json | --only) [[ -n ${2-} ]] || fail "$1 needs a value" "$BENCH_USAGE" ;;&
            --json) arguments+=(--json "$(realpath -m "$2")") ;;
            --only) arguments+=(--only "$2") ;;
            *) fail "bench does not know '$1'" "$BENCH_USAGE" ;;
        esac
        shift 2
    done
    require_own_folders
    install_all
    # Who says where the programs are has built them.
    build_services
    bench_servers
    if [[ $what == relay ]]; then
        arguments+=(--folder "$BENCH" --relay "$(service_binary outbox-relay)")
        # Numbers as English writes them, whatever the locale; the rest of the line is the command, so this is last.
        arguments+=(--producer-perf "$(java_bin)" -Duser.language=en "-Dlog4j2.configurationFile=$ROOT/deploy/kafka/log4j2.xml"
            -cp "$(kafka_libs)/*" org.apache.kafka.tools.ProducerPerformance)
    fi
    run "$(service_binary loadtest)" bench "$what" --postgres-pid "$(running_process "$BENCH/postgres.pid")" \
        --kafka-pid "$(running_process "$BENCH/kafka.pid")" "${arguments[@]}" || status=$?
    if ((status != 0)) && [[ -s $BENCH/relay.log ]]; then
        say "What the relay said last:"
        tail -n 10 "$BENCH/relay.log" | sed 's/^/    /' >&2
    fi
    return "$status"
}

# Servers for this command alone, which end with it.
bench_servers() { # sets BENCH
    local name
    BENCH=$(mktemp -d "${TMPDIR:-/tmp}/orderflow-bench-XXXXXX")
    AT_EXIT+=("servers_remove '$BENCH'")
    write_settings "$BENCH" dev "$(free_port),$(free_port),$(free_port),$(free_port)"
    # For the case that this very script is killed.
    servers_guard "$BENCH" $$
    say "Starting PostgreSQL and Kafka for the benchmark"
    servers_start "$BENCH" "postgres kafka"
    create_databases "$BENCH"
    # So that a measurement does not pay for what was written before it.
    postgres_psql "$BENCH" -c "GRANT pg_checkpoint TO orders" postgres || fail "PostgreSQL refused a grant" "see $BENCH/postgres.log"
    while read -r name; do unset "$name"; done < <(sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p' "$ROOT/.env.example")
    ORDERS_DATABASE_URL=postgres://orders:orders@127.0.0.1:$(setting "$BENCH" POSTGRES_PORT)/orders
    KAFKA_BROKERS=127.0.0.1:$(setting "$BENCH" KAFKA_PORT)
    export ORDERS_DATABASE_URL KAFKA_BROKERS
}

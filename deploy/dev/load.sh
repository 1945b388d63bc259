# shellcheck shell=bash
# ./dev load: load on the system that runs. ./dev compare: the baseline and the event-driven system under the same load, on servers of its own.

# A --url of the caller comes later and counts. The processes are those of ./dev up, whichever of them the load meets.
load_command() {
    local name pid arguments=()
    load_settings
    [[ -x $(service_binary loadtest) ]] || fail "loadtest is not built" "./dev up"
    if [[ " $* " != *" --url"* ]]; then
        running order-api || fail "order-api is not running" "./dev up --detach, or name another shop: --url http://host:port"
        arguments=(--url "$(service_url order-api)")
        for name in $(service_names) $ALL_SERVERS; do
            # The baseline has no part in it.
            if [[ $name != baseline ]] && pid=$(running_process "$(pid_file "$name")"); then arguments+=(--process "$name=$pid"); fi
        done
    fi
    run "$(service_binary loadtest)" load "${arguments[@]}" "$@"
}

# Its servers are those of a benchmark: the settings of ./dev up, data in a temporary folder, free ports.
compare_command() {
    local arguments=() status=0 usage="./dev compare [--quick] [--minutes N] [--json FILE] [--report FILE.html]"
    while (($# > 0)); do
        case $1 in
            --quick) arguments+=(--quick) && shift && continue ;;
            --minutes | --json | --report) [[ -n ${2-} ]] || fail "$1 needs a value" "$usage" ;;&
            --minutes) arguments+=("$1" "$2") ;;
            --json | --report) arguments+=("$1" "$(realpath -m "$2")") ;;
            *) fail "compare does not know '$1'" "$usage" ;;
        esac
        shift 2
    done
    require_own_folders
    install_all
    # Who says where the programs are has built them.
    build_services
    BENCH=$(mktemp -d "${TMPDIR:-/tmp}/orderflow-compare-XXXXXX")
    AT_EXIT+=("servers_remove '$BENCH'")
    bench_system "postgres redis kafka"
    run "$(service_binary loadtest)" compare --folder "$LOGS" --programs "$PROGRAMS" \
        --postgres-pid "$(running_process "$BENCH/postgres.pid")" --kafka-pid "$(running_process "$BENCH/kafka.pid")" \
        --redis-pid "$(running_process "$BENCH/redis.pid")" "${arguments[@]}" || status=$?
    if ((status != 0)); then bench_last_words; fi
    return "$status"
}

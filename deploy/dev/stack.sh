# shellcheck shell=bash
# The whole system on this machine: the three servers, who observes (observability.sh), then the services. The stack of `./dev up` is in .dev; a chaos run
# has one of its own (chaos.sh).
#
#   servers/             the servers, see servers.sh
#   run/NAME.pid         which process it is
#   logs/NAME.log        what it said since its last start; the start before that is in NAME.log.1

use_stack() { # FOLDER
    SERVERS=$1/servers
    RUN=$1/run
    LOGS=$1/logs
}
use_stack "$ROOT/.dev"

# Where the built programs are.
PROGRAMS=${ORDERFLOW_PROGRAMS:-${CARGO_TARGET_DIR:-$ROOT/target}/release}
# How long a service may take until it is ready.
READY_SECONDS=60

# A new service is one line here: its name, the setting with its address, and what it does.
SERVICES="
order-api          ORDER_API_ADDR      takes orders, serves products
outbox-relay       OUTBOX_RELAY_ADDR   publishes accepted orders to Kafka
email-consumer     EMAIL_ADDR          confirms orders by e-mail
sms-consumer       SMS_ADDR            confirms orders by text message
inventory-consumer INVENTORY_ADDR      takes orders off the stock
analytics-consumer ANALYTICS_ADDR      adds up orders and revenue
provider-sim       PROVIDER_SIM_ADDR   stands in for the e-mail and SMS companies
baseline           BASELINE_ADDR       the same shop without Redis and Kafka
"

service_names() { awk 'NF { print $1 }' <<<"$SERVICES"; }
service_variable() { awk -v name="$1" '$1 == name { print $2 }' <<<"$SERVICES"; }
service_address() { local variable; variable=$(service_variable "$1"); echo "${!variable}"; }
service_purpose() { awk -v name="$1" '$1 == name { $1 = $2 = ""; print substr($0, 3) }' <<<"$SERVICES"; }

# NAME-2 is a second instance of NAME: the same program at another address.
service_binary() { # NAME
    local program=${1%-[0-9]}
    if [[ $program == chaos-consumer ]]; then program=loadtest; fi
    echo "$PROGRAMS/$program"
}

service_command() { # NAME -> sets COMMAND
    local first=${1%-[0-9]}
    COMMAND=(env "$(service_variable "$first")=$(service_address "$1")" "$(service_binary "$1")")
    if [[ $first == chaos-consumer ]]; then COMMAND+=(chaos-consumer); fi
    if gives_way "$first"; then COMMAND=(sh -c "$GIVE_WAY" "$NICENESS" "${COMMAND[@]}"); fi
}

# Nobody waits for what comes behind Kafka, so it leaves the processors to the others where there are too few of them.
gives_way() { [[ $1 == *-consumer || $1 == provider-sim ]]; }
# From 1 to 19: the weight of 10 is about a tenth of that of 0. The benchmarks start programs with the same.
NICENESS=10
# Becomes the command behind it. Where the kernel shares processors out by session (autogroup) and not by process, what counts is the session's own
# niceness, of which an ordinary user may change ten a second, of all sessions together.
# shellcheck disable=SC2016 # The shell that runs it expands it.
GIVE_WAY='if [ -w /proc/self/autogroup ]; then
    for attempt in 1 2 3 4 5 6 7 8 9 10; do { echo "$0" >/proc/self/autogroup; } 2>/dev/null && break; sleep 0.1; done
fi
exec nice -n "$0" "$@"'

# Where to reach it from here: who listens on every address is reached on loopback.
service_url() {
    local address
    address=$(service_address "$1")
    echo "http://${address/#0.0.0.0:/127.0.0.1:}"
}

is_server() { [[ " $ALL_SERVERS $OBSERVERS " == *" $1 "* ]]; }
is_service() { service_names | grep -qx -- "$1"; }

known_name() {
    is_server "$1" || is_service "$1" || fail "there is nothing called '$1'" "choose from $(all_names | tr '\n' ' ')"
}

pid_file() { if is_server "$1"; then echo "$SERVERS/$1.pid"; else echo "$RUN/$1.pid"; fi; }
log_file() { if is_server "$1"; then echo "$SERVERS/$1.log"; else echo "$LOGS/$1.log"; fi; }
running() { running_process "$(pid_file "$1")" >/dev/null; }

# Everything that runs, or everything that does not and could.
all_names() { tr ' ' '\n' <<<"$ALL_SERVERS${OBSERVERS:+ $OBSERVERS}" && service_names; }
list() { # running | stopped
    local name
    for name in $(all_names); do
        if running "$name"; then
            if [[ $1 == running ]]; then echo "$name"; fi
        elif [[ $1 == stopped ]] && { ! is_observer "$name" || observer_is_there "$name"; }; then
            echo "$name"
        fi
    done
}

# --- up ---------------------------------------------------------------------------------------------------------------

up_command() {
    local detach="" before
    case ${1-} in
        "") ;;
        --detach | -d) detach=yes ;;
        *) fail "up does not know '$1'" "./dev up [--detach]" ;;
    esac
    load_settings
    require_own_folders
    GIT_COMMIT=$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || true)
    export GIT_COMMIT
    if [[ -z $(list stopped) ]]; then
        say "Everything is up already."
        status_command
        return
    fi
    before=$(list running)
    # What was up before this command stays up when this command fails or is stopped.
    if [[ -z $before ]]; then AT_EXIT+=(stop_everything); fi
    one_at_a_time up bring_up
    print_welcome
    if [[ -n $detach || -n $before ]]; then
        AT_EXIT=()
        say "It runs in the background. ./dev logs follows the logs, ./dev down stops it."
        return
    fi
    say "Following the logs; Ctrl-C stops everything."
    follow_until_down
}

# Below, files are written as whoever calls; what root wrote once, another user cannot.
require_own_folders() {
    local folder
    for folder in "$ROOT/.dev" "${CARGO_TARGET_DIR:-$ROOT/target}"; do
        if [[ -e $folder && ! -w $folder ]]; then
            fail "$folder belongs to $(stat -c %U "$folder")" "sudo chown -R $(id -un): $folder"
        fi
    done
}

bring_up() {
    local name
    # All ports first: a taken one should not show after minutes of building.
    for name in $(list stopped); do
        if ! is_observer "$name"; then require_ports_of "$name"; fi
    done
    install_all
    bring_observers
    build_services
    start_stack_servers "$ALL_SERVERS"
    start_observers
    prepare_data
    start_services "$(service_names)"
}

prepare_data() {
    create_databases "$SERVERS"
    with_progress "Migrating the databases" "$LOGS/migrate.log" "$(service_binary ops)" migrate ||
        fail "the databases could not be migrated" "see why above"
    with_progress "Creating the topics" "$LOGS/topics.log" "$(service_binary ops)" topics ||
        fail "the topics could not be created" "see why above"
}

require_ports_of() { # NAME
    local variable
    case $1 in
        postgres) require_free_port postgres "$POSTGRES_PORT" "POSTGRES_PORT in .env" ;;
        redis) require_free_port redis "$REDIS_PORT" "REDIS_PORT in .env" ;;
        kafka)
            require_free_port kafka "$KAFKA_PORT" "KAFKA_PORT in .env"
            require_free_port kafka "$((KAFKA_PORT + 1))" "KAFKA_PORT in .env (it uses the next port too)"
            ;;
        jaeger)
            require_free_port jaeger "$JAEGER_PORT" "JAEGER_PORT in .env"
            require_free_port jaeger "$OTLP_PORT" "OTLP_PORT in .env"
            ;;
        prometheus) require_free_port prometheus "$PROMETHEUS_PORT" "PROMETHEUS_PORT in .env" ;;
        *)
            variable=$(service_variable "$1")
            require_free_port "$1" "${!variable##*:}" "$variable in .env"
            if [[ $1 == provider-sim ]]; then
                require_free_port "$1" "${PROVIDER_SIM_SMTP_ADDR##*:}" "PROVIDER_SIM_SMTP_ADDR in .env"
            fi
            ;;
    esac
}

# Whoever names the folder of the programs has built them.
build_services() {
    if [[ -n ${ORDERFLOW_PROGRAMS-} ]]; then return; fi
    with_progress "Building the services (minutes the first time)" "$LOGS/build.log" \
        cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --workspace --bins ||
        fail "the services could not be built" "see why above"
}

start_stack_servers() { # NAMES
    # Ports may have changed in .env since the last time; nothing in the data depends on them. Those of a chaos run stay,
    # and its servers are started side by side.
    if [[ -z ${CHAOS_STACK-} ]] && ! running postgres && ! running redis && ! running kafka; then rm -f "$SERVERS/settings"; fi
    write_settings "$SERVERS" dev "$POSTGRES_PORT,$REDIS_PORT,$KAFKA_PORT"
    say "  Starting ${1// /, }"
    servers_start "$SERVERS" "$1"
}

# All at once, then one after the other until it says that it is ready.
start_services() { # NAMES
    local name
    mkdir -p "$RUN" "$LOGS"
    write_targets
    choose_trace_endpoint
    for name in $1; do
        if running "$name"; then continue; fi
        keep_log "$(log_file "$name")"
        # Relative paths in settings are the checkout's, wherever ./dev was called.
        service_command "$name"
        (cd "$ROOT" && launch "$RUN/$name.pid" "$(log_file "$name")" "${COMMAND[@]}")
    done
    for name in $1; do
        if ! wait_until "$READY_SECONDS" "$RUN/$name.pid" service_ready "$name"; then
            say "  the end of $(log_file "$name"):"
            tail -n 5 "$(log_file "$name")" | sed 's/^/    /' >&2
            if running "$name"; then
                fail "$name is not ready after ${READY_SECONDS}s" "curl -s $(service_url "$name")/health/ready says what it waits for"
            fi
            fail "$name did not start" "see why above"
        fi
    done
}

# Of the start before the last one; of all of them in a chaos run, where a process is started many times.
keep_log() { # FILE
    if [[ ! -e $1 ]]; then return; fi
    if [[ -n ${CHAOS_STACK-} ]]; then cat "$1" >>"$1.1"; else mv -f "$1" "$1.1"; fi
}

service_ready() { curl -fsS -m 2 -o /dev/null "$(service_url "$1")/health/ready" 2>/dev/null; }

print_welcome() {
    local name api
    api=$(service_url order-api)
    echo
    for name in $(service_names); do printf '  %-20s %-24s %s\n' "$name" "$(service_url "$name")" "$(service_purpose "$name")"; done
    for name in $OBSERVERS; do
        if running "$name"; then printf '  %-20s %-24s %s\n' "$name" "http://$(address_of "$name")" "$(observer_purpose "$name")"; fi
    done
    cat <<EOF

Try it:
  curl -s $api/api/product/1
  curl -s $api/api/order -H 'content-type: application/json' \\
    -d '{"user_id":123,"email":"user@example.com","phone":"+1234567890","items":[{"product_id":1,"quantity":2}]}'
  curl -s $api/api/orders/ORDER_ID
  curl -s $(service_url inventory-consumer)/api/reservations/ORDER_ID
  curl -s $(service_url analytics-consumer)/api/analytics/products/top
  curl -s $(service_url provider-sim)/api/deliveries/ORDER_ID

EOF
}

# Until Ctrl-C, or until somebody stops everything from another terminal.
follow_until_down() {
    local name
    background follow_logs
    while [[ -n $(list running) ]]; do
        for name in $(all_names); do
            # Who stops a process on purpose removes that file right afterwards.
            if [[ -e $(pid_file "$name") ]] && ! running "$name" && sleep 0.5 && [[ -e $(pid_file "$name") ]]; then
                say "$name has ended. ./dev logs $name shows its last words, ./dev start $name starts it again."
                rm -f "$(pid_file "$name")"
            fi
        done
        sleep 1
    done
    say "Everything was stopped from elsewhere."
}

# --- down, stop, start, reset -----------------------------------------------------------------------------------------

# Services first, so that they can still write down what they are at.
stop_everything() {
    if [[ -z $(list running) ]]; then return; fi
    say "Stopping the services"
    stop_services "$(service_names)" TERM
    say "Stopping Kafka, Redis and PostgreSQL"
    servers_stop "$SERVERS" "kafka $OBSERVERS"
    servers_stop "$SERVERS" redis
    servers_stop "$SERVERS" postgres
    say "Everything is stopped."
}

stop_services() { # NAMES SIGNAL
    local name jobs=()
    for name in $1; do
        stop_process "$RUN/$name.pid" "$2" 15 &
        jobs+=($!)
    done
    wait "${jobs[@]}"
}

down_command() {
    if [[ -z $(list running) ]]; then
        say "Nothing is running."
    else
        stop_everything
    fi
}

stop_command() {
    local name signal="" names=()
    for name in "$@"; do
        if [[ $name == --kill ]]; then signal=KILL; else known_name "$name" && names+=("$name"); fi
    done
    ((${#names[@]} > 0)) || fail "stop what?" "./dev stop NAME...; ./dev down stops everything"
    for name in "${names[@]}"; do
        if ! running "$name"; then
            say "$name is not running."
        elif is_server "$name"; then
            servers_stop "$SERVERS" "$name" "$signal"
            say "$name is stopped."
        else
            stop_services "$name" "${signal:-TERM}"
            say "$name is stopped."
        fi
    done
}

start_command() {
    local name
    (($# > 0)) || fail "start what?" "./dev start NAME...; ./dev up starts everything"
    load_settings
    for name in "$@"; do known_name "$name"; done
    for name in "$@"; do
        if running "$name"; then
            say "$name is running already."
            continue
        fi
        require_ports_of "$name"
        if is_server "$name"; then
            start_stack_servers "$name"
        else
            [[ -x $(service_binary "$name") ]] || fail "$name is not built" "./dev up"
            start_services "$name"
        fi
        say "$name is up."
        if [[ $name == jaeger && -n $(services_running) ]]; then
            say "A service that was started without it sends no spans until it is started again: ./dev stop NAME, ./dev start NAME"
        fi
    done
}

services_running() { comm -12 <(list running | sort) <(service_names | sort); }

reset_command() {
    stop_everything
    # What costs a download stays; so do the checkout's own files, all outside this folder.
    find "$ROOT/.dev" -mindepth 1 -maxdepth 1 ! -name kafka ! -name jaeger ! -name '*.lock' -exec rm -rf {} + 2>/dev/null || true
    say "All data is dropped. ./dev up starts anew."
}

migrate_command() {
    load_settings
    running postgres || fail "PostgreSQL is not running" "./dev up --detach, or ./dev start postgres"
    install_build_tools
    build_services
    create_databases "$SERVERS"
    "$(service_binary ops)" migrate
}

# --- Operator's commands ----------------------------------------------------------------------------------------------

audit_command() { ops_command audit "$@"; }

trace_command() { ops_command trace "$@"; }

# What Prometheus measured, as a picture. A --prometheus of the caller comes later and counts.
figures_command() {
    load_settings
    [[ -x $(service_binary loadtest) ]] || fail "loadtest is not built" "./dev up"
    "$(service_binary loadtest)" figures --prometheus "http://127.0.0.1:$PROMETHEUS_PORT" "$@"
}

# Ends with the status of the command: that of an audit says whether it is clean.
ops_command() {
    load_settings
    [[ -x $(service_binary ops) ]] || fail "ops is not built" "./dev up"
    # Who says so: some commands write it down, and a shell may not tell.
    USER=${USER:-$(id -un)} "$(service_binary ops)" "$@"
}

# --- status, logs -----------------------------------------------------------------------------------------------------

status_command() {
    local name pid state
    load_settings
    printf '%-20s %-10s %-8s %s\n' NAME STATE PID ADDRESS
    for name in $(all_names); do
        if pid=$(running_process "$(pid_file "$name")"); then
            state=running
            if is_service "$name"; then
                if service_ready "$name"; then state=ready; else state="not ready"; fi
            fi
        else
            state=stopped pid=-
            if is_observer "$name" && ! observer_is_there "$name"; then state=absent; fi
        fi
        printf '%-20s %-10s %-8s %s\n' "$name" "$state" "$pid" "$(address_of "$name")"
    done
}

address_of() { # NAME
    case $1 in
        postgres) echo "127.0.0.1:$POSTGRES_PORT" ;;
        redis) echo "127.0.0.1:$REDIS_PORT" ;;
        kafka) echo "127.0.0.1:$KAFKA_PORT" ;;
        jaeger) echo "127.0.0.1:$JAEGER_PORT" ;;
        prometheus) echo "127.0.0.1:$PROMETHEUS_PORT" ;;
        *) service_url "$1" ;;
    esac
}

logs_command() {
    if (($# == 0)); then
        [[ -n $(compgen -G "$LOGS/*.log" || true) ]] || fail "there are no logs yet" "./dev up"
        run follow_logs 10
    else
        known_name "$1"
        [[ -e $(log_file "$1") ]] || fail "$1 has no log yet" "./dev up"
        run tail -n 100 -F "$(log_file "$1")"
    fi
}

# One stream of all services' logs, each line with the name of its service.
follow_logs() { # [LINES]
    local name files=()
    for name in $(service_names); do files+=("$(log_file "$name")"); done
    tail -n "${1:-0}" -F "${files[@]}" 2>/dev/null | awk '
        /^==> .*\.log <==$/ { name = $2; sub(/.*\//, "", name); sub(/\.log$/, "", name); next }
        NF { printf "%-18s | %s\n", name, $0; fflush() }'
}

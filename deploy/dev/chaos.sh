# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # What is set here is read in stack.sh, and the other way round.
# ./dev chaos: the system, broken on purpose and audited afterwards.
#
# It breaks a stack of its own: the same programs and servers, started by the same functions, with all data in a temporary folder and
# on free ports. The data of `./dev up` is never touched, both may run side by side, and each run begins from nothing, so that what
# the audit finds came from this run. The settings are those of .env.example, whatever .env says: a seed and a commit are then all that it
# takes to do a run again.
#
# CHAOS_STACK is that folder. It is exported: the `./dev stop` and `./dev start` that loadtest calls work on the stack that it names.

# Two relays, so that one takes over when the other dies or sleeps; two consumers in the group that watches order per key.
CHAOS_SERVICES="
order-api          ORDER_API_ADDR
outbox-relay       OUTBOX_RELAY_ADDR
outbox-relay-2     OUTBOX_RELAY_2_ADDR
email-consumer     EMAIL_ADDR
sms-consumer       SMS_ADDR
inventory-consumer INVENTORY_ADDR
analytics-consumer ANALYTICS_ADDR
provider-sim       PROVIDER_SIM_ADDR
chaos-consumer     CHAOS_CONSUMER_ADDR
chaos-consumer-2   CHAOS_CONSUMER_2_ADDR
"

use_chaos_stack() {
    use_stack "$CHAOS_STACK"
    SERVICES=$CHAOS_SERVICES
    # Nobody watches it: what they take of the machine would be in its way.
    OBSERVERS=""
    # A machine with other work takes longer, and is no finding.
    READY_SECONDS=180
}
if [[ -n ${CHAOS_STACK-} ]]; then use_chaos_stack; fi

chaos_command() {
    local seed="" minutes=5 rate=25 status=0
    if [[ ${1-} == watch ]]; then
        chaos_watch "$2"
        return
    fi
    while (($# > 0)); do
        case $1 in
            --quick) minutes=1 && shift && continue ;;
            --seed | --minutes | --rate) [[ -n ${2-} ]] || fail "$1 needs a number" "./dev chaos --seed 42 --minutes 5" ;;&
            --seed) seed=$2 ;;
            --minutes) minutes=$2 ;;
            --rate) rate=$2 ;;
            *) fail "chaos does not know '$1'" "./dev chaos [--seed N] [--minutes M] [--rate ORDERS_PER_SECOND] [--quick]" ;;
        esac
        shift 2
    done
    [[ -z ${CHAOS_STACK-} ]] || fail "this is a stack of a chaos run already" "unset CHAOS_STACK"
    require_own_folders
    install_all
    # Who says where the programs are has built them.
    build_services
    chaos_up
    run "$(service_binary loadtest)" chaos --seed "${seed:-$(shuf -i 1-999999 -n 1)}" --minutes "$minutes" --rate "$rate" \
        --shop "$(service_url order-api)" --dev "$ROOT/dev" --stack "$CHAOS_STACK" --ops "$(service_binary ops)" || status=$?
    # Logs are worth keeping when something was found.
    if ((status != 0)); then
        KEEP_LOGS=yes
        say "What the processes said is in $CHAOS_STACK"
    fi
    return "$status"
}

chaos_up() {
    export ORDERFLOW_PROGRAMS=$PROGRAMS CHAOS_STACK
    CHAOS_STACK=$(mktemp -d "${TMPDIR:-/tmp}/orderflow-chaos-XXXXXX")
    # PostgreSQL may run as another user than the one who made this folder.
    chmod 755 "$CHAOS_STACK"
    AT_EXIT+=(chaos_down)
    use_chaos_stack
    chaos_settings
    mkdir -p "$RUN" "$LOGS" "$SERVERS"
    # For the case that this very script is killed.
    launch "$CHAOS_STACK/guard.pid" /dev/null "$ROOT/dev" chaos watch $$
    say "Starting a stack for chaos in $CHAOS_STACK"
    start_stack_servers "$ALL_SERVERS"
    prepare_data
    create_databases "$SERVERS" "$ROOT/loadtest/database.sql"
    with_progress "Preparing what chaos needs" "$LOGS/prepare.log" "$(service_binary loadtest)" chaos-prepare ||
        fail "the chaos run could not be prepared" "see why above"
    # So that no order meets an empty shelf.
    with_progress "Restocking" "$LOGS/restock.log" "$(service_binary ops)" restock all 1000000 ||
        fail "the stock could not be filled" "see why above"
    start_services "$(service_names)"
}

# Every setting as .env.example has it, but for ports that are free and files that are this stack's.
chaos_settings() {
    load_settings_on_free_ports
    export OUTBOX_RELAY_2_ADDR=127.0.0.1:$FREE_PORT
    export CHAOS_CONSUMER_ADDR=127.0.0.1:$((FREE_PORT + 1))
    export CHAOS_CONSUMER_2_ADDR=127.0.0.1:$((FREE_PORT + 2))
    export CHAOS_DATABASE_URL=postgres://chaos:chaos@127.0.0.1:$POSTGRES_PORT/chaos
    export PROVIDER_SIM_JOURNAL=$CHAOS_STACK/provider-sim.jsonl
    # The simulated companies fail one message in twenty. So many attempts leave no message to bad luck alone.
    export RETRY_MAX_ATTEMPTS=10
}

# Nothing in it is worth a clean shutdown.
chaos_down() {
    stop_process "$CHAOS_STACK/guard.pid" KILL 0
    chaos_remove
}

chaos_remove() {
    stop_services "$(service_names)" KILL
    servers_stop "$SERVERS" "$ALL_SERVERS" KILL
    if [[ -n ${KEEP_LOGS-} ]]; then
        for name in $ALL_SERVERS; do rm -rf "${SERVERS:?}/$name"; done
    else
        rm -rf "$CHAOS_STACK"
    fi
}

chaos_watch() { # PID
    local started
    started=$(process_start_time "$1") || started=gone
    while [[ $started != gone && $(process_start_time "$1") == "$started" ]]; do sleep 0.5; done
    rm -f "$CHAOS_STACK/guard.pid"
    chaos_remove
}

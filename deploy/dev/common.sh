# shellcheck shell=bash
# What every part of ./dev uses: messages, progress, ports, and processes that are known by more than their number.

# Answers go to standard output, everything else to standard error: the tests read what `servers start` prints.
say() { printf '%s\n' "$*" >&2; }

# One line: what is wrong, then how to mend it. FAIL_AS: what else it is than an error.
fail() {
    say "${FAIL_AS-error}: $1${2:+. Mend it: $2}"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# --- Jobs that end when we do ---------------------------------------------------------------------------------------

# What to run when this process ends, however it ends; the last one added runs first.
AT_EXIT=()

end_well() {
    local status=$? command
    # From here on a second Ctrl-C must not leave half of it running; everything below is bounded in time.
    trap '' INT TERM HUP
    end_jobs
    while ((${#AT_EXIT[@]} > 0)); do
        command=${AT_EXIT[-1]}
        unset 'AT_EXIT[-1]'
        eval "$command" || true
    done
    exit "$status"
}

end_on_signals() {
    trap end_well EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
}

# In a process group of its own: Ctrl-C reaches this script alone, which then ends the whole group. Without monitor mode
# a background command would ignore Ctrl-C, and its children would outlive us.
background() { # COMMAND...
    set -m
    "$@" </dev/null &
    set +m
}

end_jobs() {
    local pid deadline=$((SECONDS + 5))
    for pid in $(jobs -p); do
        kill -TERM -- "-$pid" 2>/dev/null || true
        while kill -0 -- "-$pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
}

# A long command that shows its own progress.
run() { # COMMAND...
    background "$@"
    wait $!
}

# A long command whose output goes to a file. Shows the seconds meanwhile: on a terminal in place with the last line of
# that output, elsewhere as a line every five seconds. A failure shows the end of the output.
with_progress() { # LABEL LOG COMMAND...
    local status=0
    try_with_progress "$@" || status=$?
    if ((status != 0)); then
        say "  $1: failed; the end of $2:"
        tail -n 40 "$2" | sed 's/^/    /' >&2
    fi
    return "$status"
}

# The same for what has an alternative: a failure is the caller's to tell.
try_with_progress() { # LABEL LOG COMMAND...
    local label=$1 log=$2 started=$SECONDS shown=$SECONDS seconds job
    shift 2
    mkdir -p "$(dirname "$log")"
    background "$@" >"$log" 2>&1
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        seconds=$((SECONDS - started))
        if [[ -t 2 ]]; then
            printf '\r\033[K  %s, %ss  %s' "$label" "$seconds" "$(last_words "$log")" >&2
        elif ((SECONDS - shown >= 5)); then
            shown=$SECONDS
            say "  $label, ${seconds}s  $(last_words "$log")"
        fi
        sleep 0.2
    done
    if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
    wait "$job" || return
    seconds=$((SECONDS - started))
    # What took no time is not worth a line.
    if ((seconds > 0)); then say "  $label: done in ${seconds}s"; fi
}

last_words() {
    tail -c 2000 "$1" | tr '\r' '\n' | sed -e 's/\x1b\[[0-9;]*[A-Za-z]//g' -e 's/^ *//' | grep . | tail -n 1 | cut -c -60 || true
}

# One process at a time: tests start their servers side by side, and each may be the first to find something missing.
one_at_a_time() { # LOCK COMMAND...
    local lock=$1 fd
    shift
    mkdir -p "$ROOT/.dev"
    exec {fd}>"$ROOT/.dev/$lock.lock"
    flock "$fd"
    "$@"
    exec {fd}>&-
}

# --- Ports ------------------------------------------------------------------------------------------------------------

# Somebody listens on this port of the loopback interface.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first of COUNT free ports in a row: ports that are drawn one by one may be the same one twice. Below the range that the kernel hands out to outgoing
# connections, so that a stopped server finds its port free again, and apart from what the tests draw for the services (shared/testkit/src/ports.rs), also
# the last of 40: a port that nobody listens on yet may be somebody's all the same.
free_ports() { # COUNT
    local first port
    while first=$(shuf -i 20000-25900 -n 1); do
        for ((port = first; port < first + $1; port++)); do
            if port_taken "$port"; then continue 2; fi
        done
        break
    done
    echo "$first"
}

# Ports for PostgreSQL, Redis and Kafka, as write_settings takes them.
free_server_ports() {
    local first
    first=$(free_ports 4)
    echo "$first,$((first + 1)),$((first + 2)),$((first + 3))"
}

# "the process redis-server (pid 123)", as far as this user may see it.
who_listens() {
    local found
    found=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (pid \2)/p' | head -n 1)
    echo "${found:-a process of another user}"
}

# --- Processes --------------------------------------------------------------------------------------------------------

# A process is its number and its start time: a number alone may by now be somebody else's process.
process_start_time() {
    local fields
    fields=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -r -a fields <<<"${fields##*) }"
    # A zombie only waits for its parent to look at it.
    [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

remember_process() { # FILE PID
    local started
    started=$(process_start_time "$2") || started=gone
    echo "$2 $started" >"$1"
}

# Prints the number of the process that FILE remembers, if that very process still runs.
running_process() { # FILE
    local pid started
    read -r pid started 2>/dev/null <"$1" || return 1
    [[ $(process_start_time "$pid") == "$started" ]] && echo "$pid"
}

# In a session of its own, so that Ctrl-C in the caller's terminal reaches the caller alone, and without the caller's
# files, so that nobody waits for an end of file that comes only when a server stops.
launch() { # PID_FILE LOG COMMAND...
    local pid_file=$1 log=$2
    shift 2
    (
        for fd in /proc/self/fd/*; do
            if ((${fd##*/} > 2)); then eval "exec ${fd##*/}>&-"; fi
        done
        exec setsid "$@"
    ) </dev/null >"$log" 2>&1 &
    remember_process "$pid_file" $!
    # It is no job of ours: it outlives us.
    disown
}

children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }

# Asks the process that FILE remembers to end, insists after SECONDS, and waits for it and its children to be gone.
stop_process() { # FILE SIGNAL SECONDS
    local file=$1 signal=$2 deadline=$((SECONDS + $3)) pid family member
    if pid=$(running_process "$file"); then
        family="$pid $(children_of "$pid")"
        # What was stopped by SIGSTOP hears nothing else before SIGCONT.
        kill -s "$signal" "$pid" 2>/dev/null || true
        kill -s CONT "$pid" 2>/dev/null || true
        for member in $family; do
            while process_start_time "$member" >/dev/null; do
                if ((SECONDS >= deadline)); then
                    kill -s KILL "$member" 2>/dev/null || true
                fi
                sleep 0.05
            done
        done
    fi
    rm -f "$file"
}

# Polls until COMMAND succeeds. Gives up early when the process that FILE remembers has ended.
wait_until() { # SECONDS FILE COMMAND...
    local deadline=$((SECONDS + $1)) file=$2
    shift 2
    until "$@"; do
        if ((SECONDS >= deadline)) || ! running_process "$file" >/dev/null; then return 1; fi
        sleep 0.1
    done
}

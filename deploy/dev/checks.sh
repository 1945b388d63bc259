# shellcheck shell=bash
# What a developer and CI run: the tests, the freshness of the offline SQL data, and a look at the machine.

install_command() {
    install_all
    bring_observers
    say "Everything that is needed is installed."
}

# Servers for this command alone, which end with it.
temporary_servers() { # NAMES -> sets TEMPORARY
    TEMPORARY=$(mktemp -d "${TMPDIR:-/tmp}/orderflow-XXXXXX")
    AT_EXIT+=("servers_remove '$TEMPORARY'")
    write_settings "$TEMPORARY" test "$(free_server_ports)"
    # For the case that this very script is killed.
    servers_guard "$TEMPORARY" $$
    servers_start "$TEMPORARY" "$1"
}

# --- Tests ------------------------------------------------------------------------------------------------------------

test_command() {
    install_all
    # Some tests look at spans and rules; a test that cannot have what it needs fails, so here it comes at any cost.
    install_servers "$OBSERVERS"
    cd "$ROOT" || exit
    sqlx_check_if_changed
    say "Building services and tests"
    # Builds the services' binaries too, since every service has integration tests. A `cargo build` beside it would resolve other
    # features and compile half of the dependencies again.
    run cargo test --locked --workspace --no-run
    say "Starting PostgreSQL, Redis and Kafka for the tests"
    temporary_servers "$ALL_SERVERS"
    local variable
    while read -r variable; do export "${variable?}"; done < <(servers_environment "$TEMPORARY" "$ALL_SERVERS")
    # Sets of servers that tests start for themselves come from here too, not from a container engine.
    export TEST_SERVERS=native
    # The tests start the services that were just built, and need not build them again.
    export ORDERFLOW_BINS_BUILT=1
    run cargo test --locked --workspace "$@"
    if (($# == 0)); then
        say "Testing ./dev itself"
        run "$ROOT/deploy/dev/tests/run"
        say "Benchmarks, their short form"
        # That they run and that what they count is right; how fast it is asserts nothing.
        run env ORDERFLOW_PROGRAMS="${CARGO_TARGET_DIR:-$ROOT/target}/debug" "$ROOT/dev" bench --quick
        say "The comparison, its short form"
        # It fails if an order is lost or doubled.
        run env ORDERFLOW_PROGRAMS="${CARGO_TARGET_DIR:-$ROOT/target}/debug" "$ROOT/dev" compare --quick
        say "Chaos, a short run"
        # Two waves with everybody killed once, the same in every test; the programs are those that the tests built.
        run env ORDERFLOW_PROGRAMS="${CARGO_TARGET_DIR:-$ROOT/target}/debug" "$ROOT/dev" chaos --seed 1 --minutes 0.7 --rate 10
    fi
    say "All tests passed."
}

# --- SQL --------------------------------------------------------------------------------------------------------------

# The SQL in the code is checked when it is compiled, against the answers of a database that are committed as .sqlx.
sqlx_command() {
    local fresh
    cd "$ROOT" || exit
    case ${1-} in
        prepare)
            fresh=$(mktemp -d)
            sqlx_describe "$fresh"
            mkdir -p .sqlx
            find .sqlx -name 'query-*.json' -delete
            find "$fresh" -name 'query-*.json' -exec cp {} .sqlx/ \;
            rm -rf "$fresh"
            say ".sqlx is up to date: $(find .sqlx -name 'query-*.json' | wc -l) queries. Commit it with the SQL."
            ;;
        check)
            fresh=$(mktemp -d)
            sqlx_describe "$fresh"
            if ! diff -rq .sqlx "$fresh" >&2; then
                rm -rf "$fresh"
                fail ".sqlx does not belong to the SQL in the code and the migrations" "./dev sqlx prepare, and commit .sqlx"
            fi
            rm -rf "$fresh"
            say ".sqlx is up to date."
            ;;
        *) fail "sqlx needs to know what to do" "./dev sqlx prepare | check" ;;
    esac
}

# Compiles every query against real databases with all migrations; the answers go to FOLDER.
sqlx_describe() { # FOLDER
    local log=$ROOT/.dev/logs/sqlx.log
    install_build_tools
    temporary_servers postgres
    sqlx_databases
    AT_EXIT+=(sqlx_give_times_back)
    sqlx_touch
    with_progress "Checking the SQL against PostgreSQL" "$log" \
        env SQLX_OFFLINE=false "SQLX_OFFLINE_DIR=$1" cargo check --locked --workspace --all-targets ||
        fail "the SQL or the code does not compile" "see above, or $log"
    sqlx_give_times_back
}

# Each folder below migrations/ belongs to the database of the same name, and to a setting NAME_DATABASE_URL.
sqlx_databases() {
    local port name folder file url
    port=$(setting "$TEMPORARY" POSTGRES_PORT)
    create_databases "$TEMPORARY"
    for folder in migrations/*/; do
        name=$(basename "$folder")
        url=postgres://$name:$name@127.0.0.1:$port/$name
        for file in "$folder"*.sql; do sqlx_apply "$url" "$file"; done
        export "${name^^}_DATABASE_URL=$url"
    done
    # The shared persistence crate has SQL too: the outbox's, which is in orders, the inbox's, which every consumer has, and that of deliveries.
    postgres_psql "$TEMPORARY" -c "CREATE DATABASE persistence" postgres
    export PERSISTENCE_DATABASE_URL=postgres://postgres@127.0.0.1:$port/persistence
    for file in migrations/orders/*.sql migrations/email/*.sql; do
        sqlx_apply "$PERSISTENCE_DATABASE_URL" "$file"
    done
}

sqlx_apply() { # URL FILE
    psql -X -q -1 -v ON_ERROR_STOP=1 "$1" -f "$2" >/dev/null || fail "$2 cannot be applied" "see the line that psql names above"
}

# cargo compiles only what changed, and a query's answer may change without its file. So the files look new for one
# run, and get their times back, or the next build would compile them all once more.
sqlx_files() { grep -rlE --include='*.rs' 'query(_as|_scalar|_file\w*)?!' services shared loadtest || true; }

sqlx_touch() {
    local file
    SQLX_TIMES=()
    while read -r file; do
        SQLX_TIMES+=("$(stat -c '%y' "$file")" "$file")
        touch "$file"
    done < <(sqlx_files)
}

sqlx_give_times_back() {
    local i
    for ((i = 0; i < ${#SQLX_TIMES[@]}; i += 2)); do
        touch -d "${SQLX_TIMES[i]}" "${SQLX_TIMES[i + 1]}" 2>/dev/null || true
    done
    SQLX_TIMES=()
}

# Once for the same code, migrations and answers is enough.
sqlx_check_if_changed() {
    local mark=$ROOT/.dev/sqlx-checked state
    state=$({ find migrations .sqlx -type f && sqlx_files && echo Cargo.lock; } | LC_ALL=C sort | xargs sha256sum | sha256sum)
    if [[ $(cat "$mark" 2>/dev/null || true) == "$state" ]]; then return; fi
    sqlx_command check
    echo "$state" >"$mark"
}

# --- Doctor -----------------------------------------------------------------------------------------------------------

doctor_command() {
    local problems=0 name free bin
    load_settings
    verdict "Rust" "$(check_rust 2>&1 && rustc --version)"
    verdict "C compiler and libraries" "$(wanted_packages build_packages_missing)"
    verdict "PostgreSQL" "$(wanted_packages "server_packages_missing postgres" && bin=$(postgres_bin) && "$bin/postgres" --version)"
    verdict "Redis" "$(wanted_packages "server_packages_missing redis" && redis-server --version | cut -d ' ' -f 1-3)"
    verdict "Java" "$(wanted_packages "server_packages_missing kafka" && "$(java_bin)" -version 2>&1 | head -n 1)"
    if [[ -d $(kafka_libs) ]]; then name="$(kafka_version)"; else name="$(kafka_version), fetched by the first ./dev up"; fi
    verdict "Apache Kafka" "$name"
    for name in $OBSERVERS; do
        verdict "${name^} (optional)" "$(if observer_is_there "$name"; then echo "there"; else echo "not there: $(how_to_get "$name")"; fi)"
    done
    free=$(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
    if ((free >= 8)); then free+=" GB free"; else free="error: $free GB free, a build needs 8. Mend it: make room"; fi
    verdict "Disk" "$free"
    verdict "Folders" "$(require_own_folders 2>&1 && echo "writable")"
    for name in $(list stopped); do
        verdict "Ports of $name" "$(require_ports_of "$name" 2>&1 && echo "free")"
    done
    if ((problems > 0)); then fail "$problems of these need mending"; fi
    say "Everything is in order."
}

verdict() { # WHAT ANSWER
    if [[ $2 == error:* ]]; then
        problems=$((problems + 1))
        printf '  NO  %-26s %s\n' "$1" "${2#error: }"
    else
        printf '  ok  %-26s %s\n' "$1" "$2"
    fi
}

wanted_packages() { # LISTING_COMMAND
    local list
    list=$($1 | sort -u | tr '\n' ' ')
    if [[ -n $list ]]; then
        echo "error: missing. Mend it: ./dev install, or: apt-get install $list"
        return 1
    fi
    if [[ $1 == build_packages_missing ]]; then echo "there"; fi
}

# shellcheck shell=bash
# Jaeger and Prometheus beside the stack: where the time of one order went, and how the system does. Everything works without them, so
# `./dev up` takes what it gets quickly, and says in a line what it goes without. A test starts its own, and then they are installed at any cost.
#
#   .dev/jaeger/VERSION/jaeger      the program
#   DIR/prometheus/etc/             its configuration: deploy/prometheus, and what it is to ask in targets/*.yml, which it reads again when they change
#   DIR/prometheus/data/            what it measured

OBSERVERS="jaeger prometheus"

is_observer() { [[ " $OBSERVERS " == *" $1 "* ]]; }

observer_is_there() { # NAME
    case $1 in
        jaeger) [[ -x $(jaeger_home)/jaeger ]] ;;
        prometheus) have prometheus && have promtool ;;
    esac
}

how_to_get() { # NAME
    case $1 in
        jaeger) echo "./dev jaeger fetches or builds it" ;;
        prometheus) echo "apt-get install --no-install-recommends prometheus" ;;
    esac
}

# --- Getting them -----------------------------------------------------------------------------------------------------

jaeger_command() {
    (($# == 0)) || fail "jaeger does not know '$1'" "./dev jaeger"
    install_servers jaeger
    say "Jaeger $(jaeger_version) is there. ./dev up starts it with everything else."
}

# What `up` gets by itself. What failed is not tried again for a day: an unreachable network would cost its time at every start.
bring_observers() {
    local name
    for name in $OBSERVERS; do
        if observer_is_there "$name"; then continue; fi
        if [[ -n $(find "$ROOT/.dev/$name.tried" -mmin -1440 2>/dev/null || true) ]]; then
            say "  without $name: it could not be had lately. Mend it: $(how_to_get "$name")"
        elif ! optional "$name" one_at_a_time install "quickly_install_$name"; then
            touch "$ROOT/.dev/$name.tried"
        fi
    done
}

# What the stack can do without: a failure is a line, and not the end.
optional() { # NAME COMMAND...
    (
        # What the caller has to do at its end is not ours to do.
        # shellcheck disable=SC2034 # Both are read in common.sh.
        AT_EXIT=() FAIL_AS="  without $1"
        shift
        end_on_signals
        "$@"
    )
}

quickly_install_prometheus() { install_packages "server_packages_missing prometheus" try_with_progress; }

quickly_install_jaeger() {
    observer_is_there jaeger || fetch_jaeger || fail "its archive could not be fetched from GitHub" "$(how_to_get jaeger)"
}

# One list of the servers' versions: the image tags of the compose file.
jaeger_version() { image_tag jaegertracing/jaeger; }
jaeger_home() { echo "$ROOT/.dev/jaeger/$(jaeger_version)"; }

# Each release has two numbers: 2.N is the program, 1.(N + 63) is the tag of the repository, which holds both.
jaeger_tag() {
    local minor patch
    IFS=. read -r _ minor patch < <(jaeger_version)
    echo "v1.$((minor + 63)).$patch"
}

# The release's archive, which has the pages of the user interface; where GitHub is out of reach, the same version from Go's modules, which have
# not. Either way the folder appears only when it is complete.
install_jaeger() {
    [[ -n $(jaeger_version) ]] || fail "docker-compose.yml names no version of jaegertracing/jaeger" "restore its image line"
    observer_is_there jaeger || fetch_jaeger || build_jaeger
}

fetch_jaeger() {
    local home log=$ROOT/.dev/logs/jaeger-archive.log
    home=$(jaeger_home)
    rm -rf "$home.part"
    mkdir -p "$home.part"
    if try_with_progress "Fetching Jaeger $(jaeger_version) from GitHub" "$log" jaeger_from_archive "$home.part"; then
        mv "$home.part" "$home"
    else
        rm -rf "$home.part"
        return 1
    fi
}

jaeger_from_archive() { # FOLDER
    local name base published
    name=jaeger-$(jaeger_version)-linux-$(dpkg --print-architecture)
    base=https://github.com/jaegertracing/jaeger/releases/download/$(jaeger_tag)
    published=$(curl -fsSL --connect-timeout 3 --max-time 10 "$base/jaeger-$(jaeger_version).sha256sum.txt" |
        sed -n "s/^\([0-9a-f]\{64\}\) .$name\.tar\.gz$/\1/p") || return
    curl -fL -# --connect-timeout 3 --max-time 180 -o "$1.tar.gz" "$base/$name.tar.gz" &&
        sha256sum -c <<<"$published  $1.tar.gz" &&
        tar -xzf "$1.tar.gz" -C "$1" --strip-components 1 "$name/jaeger" &&
        rm -f "$1.tar.gz" &&
        touch "$1/has-pages"
}

build_jaeger() {
    local home log=$ROOT/.dev/logs/jaeger-build.log
    home=$(jaeger_home)
    have go || fail "Jaeger $(jaeger_version) cannot be fetched from GitHub, and there is no Go to build it with" \
        "install Go 1.24 or newer (https://go.dev/doc/install), then ./dev jaeger"
    mkdir -p "$home.part"
    with_progress "Building Jaeger $(jaeger_version) (minutes, once)" "$log" jaeger_from_modules "$home.part" ||
        fail "Jaeger could not be built" "see why above, or all of it in $log"
    mv "$home.part" "$home"
}

# In a module of our own that begins as a copy of Jaeger's: `go install` refuses a module that replaces another one. Go's caches are in the folder
# too, 3 GB that nobody needs afterwards; a build that fails leaves them to the next one.
jaeger_from_modules() { # FOLDER
    local module=github.com/jaegertracing/jaeger build=$ROOT/.dev/jaeger/build tag
    tag=$(jaeger_tag)
    export GOCACHE=$build/cache GOMODCACHE=$build/modules GOFLAGS="-modcacherw -buildvcs=false" CGO_ENABLED=0
    mkdir -p "$build/module" &&
        cd "$build/module" &&
        go mod download "$module@$tag" &&
        cp "$GOMODCACHE/$module@$tag/go.mod" "$GOMODCACHE/$module@$tag/go.sum" . &&
        chmod u+w go.mod go.sum &&
        go mod edit -module orderflow/jaeger -require "$module@$tag" &&
        go build -mod=mod -trimpath -ldflags "-s -w -X $module/internal/version.latestVersion=v$(jaeger_version)" -o "$1/jaeger" "$module/cmd/jaeger" &&
        rm -rf "$build"
}

# --- Starting them ----------------------------------------------------------------------------------------------------

# Those of `./dev up`: a taken port or a broken start is theirs alone.
start_observers() {
    local name
    for name in $OBSERVERS; do
        if observer_is_there "$name" && ! running "$name"; then optional "$name" start_stack_servers "$name" || true; fi
    done
}

# Added to the settings of a set of servers. A test's are chosen once; those of `./dev up` are what .env says now.
observer_ports() { # DIR NAME
    local names name port
    case $2 in
        jaeger) names=(JAEGER_PORT OTLP_PORT) ;;
        prometheus) names=(PROMETHEUS_PORT) ;;
        *) return ;;
    esac
    if [[ $(setting "$1" PURPOSE) == test && -n $(setting "$1" "${names[0]}") ]]; then return; fi
    port=$(free_ports "${#names[@]}")
    for name in "${names[@]}"; do
        if [[ $(setting "$1" PURPOSE) == dev ]]; then port=${!name}; fi
        sed -i "/^$name=/d" "$1/settings"
        echo "$name=$port" >>"$1/settings"
        port=$((port + 1))
    done
}

require_observer_port() { # DIR NAME SETTING
    local where="the port in $1/settings"
    if [[ $(setting "$1" PURPOSE) == dev ]]; then where="$3 in .env"; fi
    require_free_port "$2" "$(setting "$1" "$3")" "$where"
}

start_jaeger() { # DIR
    local port otlp
    require_observer_port "$1" jaeger JAEGER_PORT
    require_observer_port "$1" jaeger OTLP_PORT
    port=$(setting "$1" JAEGER_PORT) otlp=$(setting "$1" OTLP_PORT)
    launch "$1/jaeger.pid" "$1/jaeger.log" env JAEGER_LISTEN_HOST=127.0.0.1 "JAEGER_PORT=$port" "OTLP_PORT=$otlp" GOMEMLIMIT=1500MiB \
        "$(jaeger_home)/jaeger" --config "$ROOT/deploy/jaeger/config.yaml"
    wait_until 30 "$1/jaeger.pid" jaeger_listens "$port" "$otlp" || did_not_start "$1" jaeger
}

jaeger_listens() { port_taken "$1" && port_taken "$2"; } # JAEGER_PORT OTLP_PORT

start_prometheus() { # DIR
    local port etc=$1/prometheus/etc
    require_observer_port "$1" prometheus PROMETHEUS_PORT
    port=$(setting "$1" PROMETHEUS_PORT)
    mkdir -p "$etc/targets"
    # It finds the rules and the targets beside its configuration.
    ln -sfn "$ROOT/deploy/prometheus/prometheus.yml" "$etc/prometheus.yml"
    ln -sfn "$ROOT/deploy/prometheus/rules" "$etc/rules"
    if [[ $(setting "$1" PURPOSE) == dev ]]; then write_targets; fi
    launch "$1/prometheus.pid" "$1/prometheus.log" prometheus --config.file="$etc/prometheus.yml" --web.listen-address="127.0.0.1:$port" \
        --storage.tsdb.path="$1/prometheus/data" --storage.tsdb.retention.time=7d --storage.tsdb.retention.size=1GB \
        --enable-feature=exemplar-storage --log.level=warn
    wait_until 30 "$1/prometheus.pid" curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$port/-/ready" 2>/dev/null || did_not_start "$1" prometheus
}

# Whom the Prometheus of `./dev up` asks: the services, where .env has them now.
write_targets() {
    # shellcheck disable=SC2153 # Set in stack.sh.
    local name file=$SERVERS/prometheus/etc/targets/services.yml
    if ! is_observer prometheus || [[ ! -d ${file%/*} ]]; then return; fi
    for name in $(service_names); do
        printf -- '- targets: ["%s"]\n  labels: { job: %s }\n' "$(service_url "$name" | sed 's|^http://||')" "$name"
    done >"$file.part"
    # Whole or not at all: Prometheus reads it again at every change.
    mv "$file.part" "$file"
}

# Spans of the services go to the Jaeger that runs here, unless .env or the caller has said where else, or (empty) nowhere.
choose_trace_endpoint() {
    if [[ -z ${TRACE_ENDPOINT_CHOSEN-} ]] && is_observer jaeger && running jaeger; then
        OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$(setting "$SERVERS" OTLP_PORT)
        export OTEL_EXPORTER_OTLP_ENDPOINT
    fi
}

observer_purpose() { # NAME
    case $1 in
        jaeger) if [[ -e $(jaeger_home)/has-pages ]]; then echo "traces"; else echo "traces, by its API; this build has no pages"; fi ;;
        prometheus) echo "metrics; alerts: /alerts" ;;
    esac
}

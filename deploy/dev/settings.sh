# shellcheck shell=bash
# Settings of the services: what the environment says, else .env, else .env.example, which documents all of them and is
# what ./dev really reads its defaults from.

load_settings() {
    load_settings_file "$ROOT/.env"
    # Before the example sets it: there it is empty, and an empty one is a choice too.
    : "${TRACE_ENDPOINT_CHOSEN=${OTEL_EXPORTER_OTLP_ENDPOINT+yes}}"
    # These name the ports of the servers, and so are part of other defaults.
    : "${POSTGRES_PORT:=15432}" "${REDIS_PORT:=16379}" "${KAFKA_PORT:=19092}" "${JAEGER_PORT:=16686}"
    load_settings_file "$ROOT/.env.example" -e "s/:15432/:$POSTGRES_PORT/" -e "s/:16379/:$REDIS_PORT/" \
        -e "s/:19092/:$KAFKA_PORT/" -e "s/:16686/:$JAEGER_PORT/"
}

# Lines NAME=value; what is set already stays.
load_settings_file() { # FILE [SED_ARGUMENT...]
    local file=$1 line name value
    shift
    if [[ ! -e $file ]]; then return; fi
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line =~ ^[[:space:]]*(#.*)?$ ]]; then continue; fi
        [[ $line =~ ^([A-Z][A-Z0-9_]*)=(.*)$ ]] || fail "$file has a line that is no setting: '$line'" "write NAME=value"
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
        if [[ -z ${!name+set} ]]; then export "$name=$value"; fi
    done < <(sed -e 's/\r$//' "$@" "$file")
}

# Every setting as .env.example has it, whatever .env or the environment says, but for ports: those are free ones, in a row.
load_settings_on_free_ports() { # sets FREE_PORT: it and some after it are free, too
    local port changes=()
    forget_settings
    FREE_PORT=$(free_ports 40)
    while read -r port; do
        changes+=(-e "s/127\.0\.0\.1:$port\b/127.0.0.1:$FREE_PORT/" -e "s/^\([A-Z]*_PORT\)=$port$/\1=$FREE_PORT/")
        # Kafka uses the next port too.
        FREE_PORT=$((FREE_PORT + 2))
    done < <(grep -oE '127\.0\.0\.1:[0-9]+|^[A-Z]+_PORT=[0-9]+$' "$ROOT/.env.example" | grep -oE '[0-9]+$' | sort -u)
    load_settings_file "$ROOT/.env.example" "${changes[@]}"
}

# What the environment of the caller says.
forget_settings() {
    local name
    while read -r name; do unset "$name"; done < <(sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p' "$ROOT/.env.example")
}

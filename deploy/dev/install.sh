# shellcheck shell=bash
# What the machine must have, and how to get it. Looks for the things themselves, not for packages, so that whatever
# came another way counts too. Each `..._missing` prints the packages that would bring what is missing.

# The oldest that the SQL and the settings here were written for; the same major versions as in docker-compose.yml come
# with Debian 12.
MIN_POSTGRES=15
MIN_JAVA=17

# One list of the servers' versions: the image tags of the compose file.
image_tag() { sed -n "s|^ *image: *$1:\([^ ]*\).*|\1|p" "$ROOT/docker-compose.yml" | head -n 1; }

kafka_version() { image_tag apache/kafka; }
kafka_home() { echo "$ROOT/.dev/kafka/$(kafka_version)"; }
kafka_libs() { echo "$(kafka_home)/libs"; }

# --- What is there ------------------------------------------------------------------------------------------------

# Newest first, `6 7 .. 15`; each folder of Debian's packages is one major version.
postgres_majors() {
    local folder
    for folder in /usr/lib/postgresql/*; do
        if [[ -x $folder/bin/postgres && -x $folder/bin/initdb ]]; then basename "$folder"; fi
    done | sort -rn
}

# The folder of the server's programs: of exactly MAJOR where data of that version exists, else of the newest.
postgres_bin() { # [MAJOR]
    local major
    for major in $(postgres_majors); do
        if [[ $major == "${1:-$major}" ]] && ((major >= MIN_POSTGRES)); then
            echo "/usr/lib/postgresql/$major/bin"
            return
        fi
    done
    if [[ -n ${1-} ]]; then
        fail "the data was written by PostgreSQL $1, which is not installed" "install it, or drop the data: ./dev reset"
    fi
    fail "there is no PostgreSQL $MIN_POSTGRES or newer" "sudo apt-get install postgresql"
}

java_major() { "$1" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p'; }

# The java on the path, else the newest of the distribution's, which may have several side by side.
java_bin() {
    local java major
    for java in java "${JAVA_HOME:-/none}/bin/java" /usr/lib/jvm/*/bin/java; do
        if have "$java"; then
            major=$(java_major "$java")
            if ((${major:-0} >= MIN_JAVA)); then
                command -v "$java"
                return
            fi
        fi
    done
    return 1
}

server_packages_missing() { # NAME...
    local name newest
    for name in "$@"; do
        case $name in
            postgres)
                newest=$(postgres_majors | head -n 1)
                if ((${newest:-0} < MIN_POSTGRES)) || ! have psql; then echo postgresql; fi
                ;;
            redis) if ! have redis-server || ! have redis-cli; then echo redis-server; fi ;;
            kafka) if ! java_bin >/dev/null; then echo default-jre-headless; fi ;;
            prometheus) if ! observer_is_there prometheus; then echo prometheus; fi ;;
        esac
    done
    have setpriv || echo util-linux
}

# The C compiler and headers are for librdkafka, which its crate builds; make is its build tool.
build_packages_missing() {
    { have cc && have g++ && have make; } || echo build-essential
    have pkg-config || echo pkg-config
    [[ -e /usr/include/zlib.h ]] || echo zlib1g-dev
    [[ -e /usr/include/openssl/ssl.h ]] || echo libssl-dev
    have curl || echo curl
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
    # Names the process that holds a port.
    have ss || echo iproute2
}

# --- Getting it ---------------------------------------------------------------------------------------------------

install_servers() { # NAMES
    # shellcheck disable=SC2086 # A list of names.
    if [[ -n $(server_packages_missing $1) ]]; then
        one_at_a_time install install_packages "server_packages_missing $1"
    fi
    if [[ " $1 " == *" kafka "* && ! -d $(kafka_libs) ]]; then one_at_a_time install install_kafka; fi
    if [[ " $1 " == *" jaeger "* ]] && ! observer_is_there jaeger; then one_at_a_time install install_jaeger; fi
}

# Once for all is quicker than one after the other.
install_all() {
    if [[ -n $(packages_missing) ]]; then one_at_a_time install install_packages packages_missing; fi
    check_rust
    install_servers "$ALL_SERVERS"
}

packages_missing() {
    build_packages_missing
    # shellcheck disable=SC2086 # A list of names.
    server_packages_missing $ALL_SERVERS
}

install_build_tools() {
    if [[ -n $(build_packages_missing) ]]; then one_at_a_time install install_packages build_packages_missing; fi
    check_rust
}

# Takes the command that lists the packages, not the list: whoever waited for another to install asks again.
install_packages() { # LISTING_COMMAND [try_with_progress]
    local list log=$ROOT/.dev/logs/install-packages.log
    # shellcheck disable=SC2086 # A function and its arguments.
    mapfile -t list < <($1 | sort -u)
    if ((${#list[@]} == 0)); then return; fi
    have apt-get || fail "this machine lacks what the Debian packages ${list[*]} bring" "install them your system's way"
    local privileged=()
    if ((EUID != 0)); then
        have sudo || fail "${list[*]} must be installed and there is no sudo" "as root: apt-get install ${list[*]}"
        # Asked for here, where a person sees it, and not behind the progress line.
        sudo -v || fail "${list[*]} must be installed and sudo refuses" "as root: apt-get install ${list[*]}"
        privileged=(sudo)
    fi
    "${2:-with_progress}" "Installing ${list[*]}" "$log" \
        "${privileged[@]}" bash "$ROOT/deploy/dev/install-packages.sh" "${list[@]}" ||
        fail "the packages ${list[*]} could not be installed" "see why in $log; by hand: apt-get install ${list[*]}"
}

check_rust() {
    local wanted installed
    if ! have cargo && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    if ! have cargo || ! have rustc; then
        fail "Rust $wanted or newer is needed" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    fi
    installed=$(rustc --version | cut -d ' ' -f 2)
    if [[ $(printf '%s\n' "$wanted" "${installed%%-*}" | sort -V | head -n 1) != "$wanted" ]]; then
        fail "Rust $wanted or newer is needed and this is $installed" "rustup update stable && rustup default stable"
    fi
}

# --- Apache Kafka -------------------------------------------------------------------------------------------------

# The release archive with its checksum verified; where Apache's servers are out of reach, the same version's jars from
# a Maven repository. Either way the folder appears only when it is complete.
install_kafka() {
    local version home
    version=$(kafka_version)
    home=$(kafka_home)
    if [[ -d $home/libs ]]; then return; fi
    [[ -n $version ]] || fail "docker-compose.yml names no version of apache/kafka" "restore its image line"
    rm -rf "$home".*
    mkdir -p "$home.part"
    if ! try_with_progress "Fetching Apache Kafka $version from Apache" "$ROOT/.dev/logs/kafka-archive.log" \
        kafka_from_archive "$version" "$home.part"; then
        say "  No verified archive from Apache's servers ($(last_words "$ROOT/.dev/logs/kafka-archive.log")); trying Maven"
        if ! have mvn; then install_packages "echo maven"; fi
        rm -rf "$home.part"
        mkdir -p "$home.part/libs"
        with_progress "Fetching Apache Kafka $version by Maven" "$ROOT/.dev/logs/kafka-maven.log" \
            kafka_from_maven "$version" "$home.part/libs" ||
            fail "Apache Kafka $version could not be fetched" "check the network, then run this again"
    fi
    mv "$home.part" "$home"
}

kafka_from_archive() { # VERSION FOLDER
    local name=kafka_2.13-$1.tgz file=$2.tgz mirror
    # The first serves current releases, the second all that ever were.
    for mirror in https://dlcdn.apache.org https://archive.apache.org/dist; do
        # As narrow a progress bar as fits into our line.
        if COLUMNS=40 curl -fL -# --connect-timeout 5 -o "$file" "$mirror/kafka/$1/$name" &&
            kafka_checksum_holds "$1" "$name" "$file" &&
            tar -xzf "$file" -C "$2" --strip-components 1; then
            rm -f "$file"
            return 0
        fi
    done
    rm -f "$file"
    return 1
}

# The checksum never comes from the mirror that served the archive, but from Apache's own servers.
kafka_checksum_holds() { # VERSION NAME FILE
    local server published actual
    actual=$(sha512sum "$3" | cut -d ' ' -f 1)
    for server in https://downloads.apache.org https://archive.apache.org/dist; do
        # Published as "name: ABCD 1234 ..." over several lines, or as sha512sum prints it.
        published=$(curl -fsSL --connect-timeout 5 "$server/kafka/$1/$2.sha512") || continue
        published=$(tr -d ' \n' <<<"${published//$2/}" | tr 'A-F' 'a-f')
        if [[ ${published//[^0-9a-f]/} == "$actual" ]]; then return 0; fi
        echo "$2 has not the checksum that $server publishes"
        return 1
    done
    echo "no checksum of $2 could be fetched"
    return 1
}

kafka_from_maven() { # VERSION FOLDER
    mvn -B -C -Dstyle.color=never -f "$ROOT/deploy/kafka/pom.xml" "-Dkafka.version=$1" \
        dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$2"
}

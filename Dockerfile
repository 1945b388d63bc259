# syntax=docker/dockerfile:1
# One image with all services; the compose file says which of them a container runs.
# Rust's and the runtime's image stand on the same Debian, or the binaries would ask for another libc.
# The first needs the version that Cargo.toml asks for.

# Manifests alone, with empty crates behind them. This stage runs after every change, but its result is the same as
# long as no dependency changes, and so the long step below comes from the cache.
FROM rust:1.95-bookworm AS manifests
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY services services
COPY shared shared
COPY loadtest loadtest
RUN find services shared loadtest -type f ! -name Cargo.toml -delete \
    && for crate in services/* shared/* loadtest; do \
        mkdir -p "$crate/src" && echo '//! Empty.' > "$crate/src/lib.rs"; \
        case "$crate" in services/* | loadtest) printf '//! Empty.\nfn main() {}\n' > "$crate/src/main.rs" ;; esac; \
    done

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The incremental data that helps at a desk would only make the layers larger.
ENV CARGO_INCREMENTAL=0
# "dist" optimises further and takes two to three times as long; published measurements use it.
ARG PROFILE=release
COPY --from=manifests /src ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --profile "$PROFILE" --locked --workspace --bins
COPY . .
# cargo goes by the files' times, and the real sources may be older than the empty ones compiled above.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find services shared loadtest -name '*.rs' -exec touch {} + \
    && cargo build --profile "$PROFILE" --locked --workspace --bins \
    && mkdir /out \
    && for service in services/*; do cp "target/$PROFILE/${service#services/}" /out/; done

FROM debian:bookworm-slim
# libssl3 and zlib1g: what the Kafka client links. curl: the health checks ask the same URL as everybody else, which
# proves more than a switch of the binary itself would.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home orderflow \
    && install -d -o orderflow /var/lib/orderflow
COPY --from=build /out/ /usr/local/bin/
# Told by `GET /info`.
ARG GIT_COMMIT=
ENV GIT_COMMIT=$GIT_COMMIT
USER 10001
WORKDIR /var/lib/orderflow

//! The outbox relay: settings, then `outbox_relay::run` until a signal.

use std::process::ExitCode;

use outbox_relay::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: the loop is one, and Kafka's client has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    service_runtime::process::main("outbox-relay", config.http_addr, |listener, shutdown| {
        outbox_relay::run(config, listener, shutdown)
    })
    .await
}

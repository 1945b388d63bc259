//! The analytics consumer: settings, then `analytics_consumer::run` until a signal.

use std::process::ExitCode;

use analytics_consumer::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: what it waits for is elsewhere, and Kafka's client has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    service_runtime::process::main("analytics-consumer", config.http_addr, |listener, shutdown| {
        analytics_consumer::run(config, listener, shutdown)
    })
    .await
}

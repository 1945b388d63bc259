//! The baseline: settings, then `baseline::run` until a signal.

use std::process::ExitCode;

use baseline::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    service_runtime::process::main("baseline", config.http_addr, |listener, shutdown| {
        baseline::run(config, listener, shutdown)
    })
    .await
}

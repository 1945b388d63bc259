//! The order API: settings, then `order_api::run` until a signal.

use std::process::ExitCode;

use order_api::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    service_runtime::process::main("order-api", config.http_addr, |listener, shutdown| {
        order_api::run(config, listener, shutdown)
    })
    .await
}

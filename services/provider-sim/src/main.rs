//! Stands in for the e-mail and text-message companies.

use std::process::ExitCode;

use provider_sim::Config;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: a message takes microseconds.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    service_runtime::process::main("provider-sim", config.http_addr, |listener, shutdown| {
        provider_sim::run(config, listener, shutdown)
    })
    .await
}

//! Confirms orders by e-mail over SMTP.

use std::process::ExitCode;

use email_consumer::Config;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: what it waits for is elsewhere, and Kafka's client has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    service_runtime::process::main("email-consumer", config.http_addr, |listener, shutdown| {
        email_consumer::run(config, listener, shutdown)
    })
    .await
}

//! `loadtest --help` lists what it can do.

use std::process::ExitCode;

use loadtest::ladders::consumer;
use loadtest::{Command, Config, bench, chaos, compare, figures, scenario};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = service_runtime::settings::load();
    match config.command {
        Command::Chaos(settings) => chaos::run(settings).await,
        Command::Bench(settings) => bench::run(settings).await,
        Command::Load(settings) => scenario::run(settings).await,
        Command::Compare(settings) => compare::run(*settings).await,
        Command::Figures(settings) => figures::run(settings).await,
        Command::ChaosPrepare(settings) => match chaos::prepare(&settings.orders, &settings.kafka).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("loadtest: {error:#}");
                ExitCode::FAILURE
            }
        },
        Command::BenchProductsServer(config) => bench::products::serve(*config).await,
        Command::ChaosConsumer(config) => {
            service_runtime::process::main("chaos-consumer", config.http_addr, |listener, shutdown| {
                consumer::run(config, listener, shutdown)
            })
            .await
        }
    }
}

//! The operator's command: `ops --help` lists what it can do.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match ops::run(service_runtime::settings::load()).await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("ops: {error:#}");
            ExitCode::FAILURE
        }
    }
}

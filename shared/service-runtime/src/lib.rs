//! What every process does alike: settings, telemetry, health, HTTP, shutdown.

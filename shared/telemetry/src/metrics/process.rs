//! What the system says of this process, under the names that Prometheus' clients use.

use procfs::process::{LimitValue, Process, Stat};
use prometheus_client::metrics::MetricType;

use super::Metrics;

pub(super) fn register(metrics: &Metrics) {
    metrics.read(
        "process_cpu_seconds",
        "Processor time spent in user and system mode, in seconds",
        MetricType::Counter,
        [],
        || one(cpu_seconds()),
    );
    let gauge = |name, help, read: fn() -> Option<f64>| {
        metrics.gauges(name, help, [], move || one(read()));
    };
    gauge("process_resident_memory_bytes", "Memory in use, in bytes", || {
        stat().map(|stat| (stat.rss * procfs::page_size()) as f64)
    });
    gauge("process_threads", "Threads", || stat().map(|stat| stat.num_threads as f64));
    gauge("process_open_fds", "Open file descriptors", || {
        Process::myself().ok()?.fd_count().ok().map(|count| count as f64)
    });
    gauge("process_max_fds", "File descriptors that may be open", || {
        match Process::myself().ok()?.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Value(limit) => Some(limit as f64),
            LimitValue::Unlimited => None,
        }
    });
    gauge("process_start_time_seconds", "When the process started, in seconds since 1970", || {
        let ticks = stat()?.starttime as f64 / procfs::ticks_per_second() as f64;
        Some(procfs::boot_time_secs().ok()? as f64 + ticks)
    });
}

/// A value that cannot be read is left out.
fn one(value: Option<f64>) -> Vec<([std::borrow::Cow<'static, str>; 0], f64)> {
    value.map(|value| ([], value)).into_iter().collect()
}

fn stat() -> Option<Stat> {
    Process::myself().ok()?.stat().ok()
}

fn cpu_seconds() -> Option<f64> {
    let stat = stat()?;
    Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

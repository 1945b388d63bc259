//! What processes use: processor time and memory, as the kernel counts them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use procfs::process::{Process, all_processes};
use procfs::sys::kernel::Version as KernelVersion;
use procfs::{CpuInfo, Current, CurrentSI, KernelStats, Meminfo};

use crate::bench::report::{Spent, Used};

/// The processes that take part, by the names under which they are reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(BTreeMap<&'static str, Kind>);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Alone(i32),
    /// With all its children, dead ones too. They share memory, so none is reported.
    Family(i32),
}

/// What they have used so far.
#[derive(Debug)]
pub(crate) struct Reading {
    at: Instant,
    cpu: BTreeMap<&'static str, Duration>,
}

impl Watched {
    /// Watches one process.
    #[must_use]
    pub(crate) fn process(mut self, name: &'static str, pid: i32) -> Self {
        self.0.insert(name, Kind::Alone(pid));
        self
    }

    /// Watches a process and its children, as PostgreSQL's.
    #[must_use]
    pub(crate) fn family(mut self, name: &'static str, pid: i32) -> Self {
        self.0.insert(name, Kind::Family(pid));
        self
    }

    /// Their peaks of memory begin anew.
    pub(crate) fn forget_peaks(&self) {
        for kind in self.0.values() {
            if let Kind::Alone(pid) = kind {
                forget_peak(*pid);
            }
        }
    }

    /// What is resident of each now, in MiB; of a family without what its members share counted twice.
    ///
    /// # Errors
    /// One of them has ended, or the kernel does not say.
    pub(crate) fn resident(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        self.0.iter().map(|(name, kind)| Ok((*name, resident(name, *kind)?))).collect()
    }

    /// The most that was resident of each at a time, in MiB, where it is known.
    pub(crate) fn peaks(&self) -> BTreeMap<&'static str, f64> {
        self.0.iter().filter_map(|(name, kind)| Some((*name, memory(*kind)?))).collect()
    }

    /// What they have used so far.
    ///
    /// # Errors
    /// One of them has ended.
    pub(crate) fn read(&self) -> anyhow::Result<Reading> {
        let at = Instant::now();
        let cpu = self
            .0
            .iter()
            .map(|(name, kind)| Ok((*name, cpu(name, *kind)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Reading { at, cpu })
    }

    /// What they have used since `before`, in which `events` came of it.
    ///
    /// # Errors
    /// One of them has ended.
    pub(crate) fn since(&self, before: &Reading, events: u64) -> anyhow::Result<Spent> {
        let now = self.read()?;
        let mut processes = BTreeMap::new();
        for (name, kind) in &self.0 {
            let cpu_before = before.cpu.get(name).copied().unwrap_or_default();
            let cpu = now.cpu.get(name).copied().unwrap_or_default().saturating_sub(cpu_before);
            processes.insert(*name, Used { cpu, memory_mib: memory(*kind) });
        }
        Ok(Spent { wall: now.at - before.at, events, processes })
    }
}

fn cpu(name: &str, kind: Kind) -> anyhow::Result<Duration> {
    let ended = || format!("{name} has ended");
    match kind {
        Kind::Alone(pid) => {
            let stat = Process::new(pid).and_then(|process| process.stat()).with_context(ended)?;
            Ok(ticks(stat.utime + stat.stime))
        }
        Kind::Family(pid) => {
            Process::new(pid).with_context(ended)?;
            let mut sum = 0;
            // A process that ends meanwhile is counted by its parent at the next reading.
            for stat in all_processes()?.filter_map(|process| process.and_then(|process| process.stat()).ok())
            {
                if stat.pid == pid || stat.ppid == pid {
                    // Of children that have ended, and were waited for.
                    let gone = u64::try_from(stat.cutime + stat.cstime).unwrap_or_default();
                    sum += stat.utime + stat.stime + gone;
                }
            }
            Ok(ticks(sum))
        }
    }
}

/// The kernel's peak of what was resident begins anew. Where it refuses, the peak is that since the start, which is no smaller.
pub(crate) fn forget_peak(pid: i32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
}

/// `VmHWM`: the most that was resident at a time.
fn memory(kind: Kind) -> Option<f64> {
    let Kind::Alone(pid) = kind else { return None };
    let status = Process::new(pid).and_then(|process| process.status()).ok()?;
    Some(status.vmhwm? as f64 / 1024.0)
}

fn resident(name: &str, kind: Kind) -> anyhow::Result<f64> {
    let kibibytes = match kind {
        Kind::Alone(pid) => {
            let status = Process::new(pid).and_then(|process| process.status());
            status.with_context(|| format!("{name} has ended"))?.vmrss.unwrap_or_default()
        }
        Kind::Family(pid) => {
            let members = all_processes()?.filter_map(Result::ok);
            let members =
                members.filter(|member| member.stat().is_ok_and(|stat| stat.pid == pid || stat.ppid == pid));
            members.filter_map(|member| proportional(&member)).sum()
        }
    };
    Ok(kibibytes as f64 / 1024.0)
}

/// Of a page that several processes share, each has its part, in KiB. `None`: it has ended meanwhile, or may not be looked at.
fn proportional(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    let bytes: u64 = rollup.memory_map_rollup.iter().filter_map(|map| map.extension.map.get("Pss")).sum();
    Some(bytes / 1024)
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
}

/// Time of all processors, and what the machine below took of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    all: u64,
    stolen: u64,
}

impl Machine {
    /// Processor, memory and kernel in one line; what the kernel does not say is left out.
    pub(crate) fn name() -> String {
        let processor = CpuInfo::current().ok().and_then(|all| all.model_name(0).map(str::to_owned));
        let memory = Meminfo::current().ok().map(|memory| format!("{} MiB", memory.mem_total >> 20));
        let kernel = KernelVersion::current().ok();
        let kernel =
            kernel.map(|KernelVersion { major, minor, patch }| format!("Linux {major}.{minor}.{patch}"));
        [processor, memory, kernel].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What was counted so far; `None` where the kernel does not count it.
    pub(crate) fn read() -> Option<Self> {
        let total = KernelStats::current().ok()?.total;
        let stolen = total.steal?;
        let all = total.user
            + total.nice
            + total.system
            + total.idle
            + total.iowait.unwrap_or_default()
            + total.irq.unwrap_or_default()
            + total.softirq.unwrap_or_default()
            + stolen;
        Some(Self { all, stolen })
    }

    /// The part of the time since then that was taken, in percent.
    pub(crate) fn stolen_percent(self) -> Option<f64> {
        let now = Self::read()?;
        let all = now.all.saturating_sub(self.all);
        (all > 0).then(|| now.stolen.saturating_sub(self.stolen) as f64 / all as f64 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_process_uses_is_counted_and_no_other() {
        let me = i32::try_from(std::process::id()).unwrap();
        let watched = Watched::default().process("me", me);
        let before = watched.read().unwrap();
        let began = before.cpu["me"];
        while watched.read().unwrap().cpu["me"] < began + Duration::from_millis(50) {}
        let spent = watched.since(&before, 10).unwrap();
        assert!(spent.processes["me"].cpu >= Duration::from_millis(50));
        assert!(spent.processes["me"].memory_mib.unwrap() > 1.0);
    }

    #[test]
    fn a_process_that_has_ended_is_an_error_and_not_a_zero() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        let error = Watched::default().process("it", pid).read().unwrap_err();
        assert!(error.to_string().contains("it has ended"), "{error:#}");
    }
}

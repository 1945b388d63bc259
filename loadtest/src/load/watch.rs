//! What processes on this machine use while there is load.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use procfs::process::{Process, Status};
use serde::Serialize;

/// A process by its name and number. Its children count as part of it: PostgreSQL has many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    name: String,
    pid: i32,
    with_children: bool,
}

/// It is not NAME=PID.
#[derive(Debug, thiserror::Error)]
#[error("expected NAME=PID")]
pub struct NotNamed;

/// What a process used over time.
#[derive(Clone, Debug, Serialize)]
pub struct Use {
    /// Which one.
    pub name: String,
    /// Cores in use, for each second; none once it has ended.
    pub cores: Vec<Option<f64>>,
    /// What was resident at the end of each second, in MiB. What its children share counts once.
    pub memory_mib: Vec<Option<f64>>,
    /// Seconds of processor time since counting began.
    pub cpu_seconds: f64,
    /// The most that was resident at the end of a second, in MiB.
    pub peak_mib: f64,
}

/// Looks at processes second by second.
#[derive(Debug)]
pub struct Watch(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    process: Named,
    last: Option<(Instant, Duration)>,
    began: Duration,
    used: Use,
}

impl Named {
    /// The process `pid` under this name.
    pub fn new(name: impl Into<String>, pid: i32) -> Self {
        Self { name: name.into(), pid, with_children: true }
    }

    /// This very process, which makes the load, alone: in a comparison its children are what is measured.
    pub fn own() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        Self { with_children: false, ..Self::new("loadtest", pid) }
    }
}

impl FromStr for Named {
    type Err = NotNamed;

    fn from_str(text: &str) -> Result<Self, NotNamed> {
        let (name, pid) = text.split_once('=').ok_or(NotNamed)?;
        match pid.parse() {
            Ok(pid) if !name.is_empty() && pid > 0 => Ok(Self::new(name, pid)),
            _ => Err(NotNamed),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.pid)
    }
}

impl Watch {
    /// Begins to watch these.
    pub fn new(processes: &[Named]) -> Self {
        let seen = |process: &Named| {
            let cpu = look(process).map(|(cpu, _)| cpu);
            let used = Use {
                name: process.name.clone(),
                cores: Vec::new(),
                memory_mib: Vec::new(),
                cpu_seconds: 0.0,
                peak_mib: 0.0,
            };
            let last = cpu.map(|cpu| (Instant::now(), cpu));
            Seen { process: process.clone(), last, began: cpu.unwrap_or_default(), used }
        };
        Self(processes.iter().map(seen).collect())
    }

    /// Sums begin anew; what was seen second by second stays.
    pub fn begin(&mut self) {
        for seen in &mut self.0 {
            seen.began = look(&seen.process).map_or(Duration::ZERO, |(cpu, _)| cpu);
            (seen.used.cpu_seconds, seen.used.peak_mib) = (0.0, 0.0);
        }
    }

    /// A second is over.
    pub fn turn(&mut self) {
        for seen in &mut self.0 {
            seen.turn();
        }
    }

    /// Everything that was seen.
    pub fn end(self) -> Vec<Use> {
        self.0.into_iter().map(|seen| seen.used).collect()
    }
}

impl Seen {
    fn turn(&mut self) {
        let now = Instant::now();
        let Some((cpu, memory_mib)) = look(&self.process) else {
            self.last = None;
            self.used.cores.push(None);
            self.used.memory_mib.push(None);
            return;
        };
        let cores = self.last.map(|(at, before)| {
            cpu.saturating_sub(before).as_secs_f64() / (now - at).as_secs_f64().max(1e-3)
        });
        self.last = Some((now, cpu));
        self.used.cores.push(cores);
        self.used.memory_mib.push(Some(memory_mib));
        self.used.cpu_seconds = cpu.saturating_sub(self.began).as_secs_f64();
        self.used.peak_mib = self.used.peak_mib.max(memory_mib);
    }
}

/// Processor time so far and MiB resident, of a process and its children if they count; none if it has ended.
fn look(named: &Named) -> Option<(Duration, f64)> {
    let process = Process::new(named.pid).ok()?;
    let stat = process.stat().ok()?;
    // Of children that have ended.
    let gone = if named.with_children { stat.cutime + stat.cstime } else { 0 };
    let gone = u64::try_from(gone).unwrap_or_default();
    let (mut ticks, mut private, mut shared) = (stat.utime + stat.stime + gone, 0, 0);
    let mut remember = |status: Status| {
        private += status.rssanon.unwrap_or_default();
        let common = status.rssfile.unwrap_or_default() + status.rssshmem.unwrap_or_default();
        shared = common.max(shared);
    };
    remember(process.status().ok()?);
    let children = process.task_main_thread().and_then(|task| task.children()).unwrap_or_default();
    let counted = children.into_iter().filter(|_| named.with_children);
    for child in counted.filter_map(|pid| Process::new(i32::try_from(pid).ok()?).ok()) {
        // One that ends meanwhile is counted by its parent at the next look.
        let (Ok(stat), Ok(status)) = (child.stat(), child.status()) else { continue };
        ticks += stat.utime + stat.stime;
        remember(status);
    }
    let cpu = Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64);
    Some((cpu, (private + shared) as f64 / 1024.0))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_process_is_named_with_its_number() {
        assert_eq!("order-api=12".parse::<Named>().unwrap(), Named::new("order-api", 12));
        for wrong in ["12", "order-api", "order-api=", "=12", "order-api=-3", "order-api=x"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn processor_time_is_counted_from_the_beginning_and_memory_is_there() {
        let mut watch = Watch::new(&[Named::own()]);
        let began = look(&Named::own()).unwrap().0;
        while look(&Named::own()).unwrap().0 < began + Duration::from_millis(50) {}
        watch.turn();
        let used = watch.end().remove(0);
        assert!(used.cpu_seconds >= 0.05 && used.peak_mib > 1.0, "{used:?}");
        assert_eq!((used.cores.len(), used.memory_mib.len()), (1, 1));
    }

    #[test]
    fn children_count_as_part_of_a_process_but_for_the_one_that_makes_the_load() {
        assert!(!Named::own().with_children);
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo; read end; kill $!"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its line says that the child is there.
        let mut line = [0];
        shell.stdout.take().unwrap().read_exact(&mut line).unwrap();
        let family = Named::new("shell", i32::try_from(shell.id()).unwrap());
        let alone = Named { with_children: false, ..family.clone() };
        let (alone, together) = (look(&alone).unwrap().1, look(&family).unwrap().1);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(alone < together, "{alone} {together}");
    }

    #[test]
    fn a_process_that_has_ended_is_a_gap() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        let mut watch = Watch::new(&[Named::new("it", pid)]);
        watch.turn();
        assert_eq!(watch.end().remove(0).cores, [None]);
    }
}

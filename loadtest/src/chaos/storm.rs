//! Carrying out the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Action, CALM, Fault, PAST_A_LEASE, Plan, WAVE};
use super::stack::Stack;
use super::target::Target;

/// How long a process may take until it is up again. Far more than any needs, also on a machine with other work.
const REVIVE: Duration = Duration::from_secs(300);
const BETWEEN_STARTS: Duration = Duration::from_millis(500);

/// What a target went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// `SIGKILL`s.
    pub kills: u32,
    /// Freezes.
    pub freezes: u32,
    /// Freezes that outlived every lease.
    pub past_a_lease: u32,
    /// Stops in good order.
    pub restarts: u32,
    /// Times it was found dead without anybody's doing.
    pub own_ends: u32,
    /// Time that it was killed, stopped or frozen, until it was ready again.
    pub away: Duration,
}

/// Does to the stack what the plan says. At the end everybody is up and awake. `tell` gets a line for each fault.
pub(super) async fn rage(
    stack: &Stack,
    plan: &Plan,
    tell: impl Fn(String),
) -> anyhow::Result<BTreeMap<Target, Toll>> {
    let mut tolls: BTreeMap<Target, Toll> = Target::ALL.map(|target| (target, Toll::default())).into();
    let began = Instant::now();
    for wave in &plan.waves {
        let begin = Instant::now();
        let tell = &tell;
        let faults = wave.faults.iter().map(|fault| async move {
            sleep_until(begin + fault.after).await;
            tell(line(began.elapsed(), fault));
            let struck = Instant::now();
            let own_end = strike(stack, fault).await?;
            anyhow::Ok((fault, own_end, struck.elapsed()))
        });
        for done in join_all(faults).await {
            let (fault, own_end, away) = done?;
            tolls.entry(fault.target).or_default().add(fault.action, own_end, away);
        }
        for target in Target::ALL {
            if !stack.is_running(target) {
                tolls.entry(target).or_default().own_ends += 1;
                revive(stack, target).await?;
            }
        }
        sleep_until((begin + WAVE).max(Instant::now() + CALM)).await;
    }
    Ok(tolls)
}

/// Carries one fault out, up to the end of it. Returns whether the target was dead before.
async fn strike(stack: &Stack, fault: &Fault) -> anyhow::Result<bool> {
    let target = fault.target;
    let own_end = !stack.is_running(target);
    match fault.action {
        Action::Kill(away) => {
            stack.kill(target).await?;
            sleep(away).await;
            revive(stack, target).await?;
        }
        Action::Restart => {
            stack.stop(target).await?;
            revive(stack, target).await?;
        }
        Action::Freeze(_) if own_end => revive(stack, target).await?,
        Action::Freeze(asleep) => {
            stack.freeze(target)?;
            sleep(asleep).await;
            stack.wake(target)?;
        }
    }
    Ok(own_end)
}

/// Starts a target. It may fail for what is done to the others at the same time, so it is tried again.
async fn revive(stack: &Stack, target: Target) -> anyhow::Result<()> {
    let deadline = Instant::now() + REVIVE;
    loop {
        match stack.start(target).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{target} does not come back"));
            }
            Err(_) => sleep(BETWEEN_STARTS).await,
        }
    }
}

impl Toll {
    fn add(&mut self, action: Action, own_end: bool, away: Duration) {
        match action {
            Action::Kill(_) => self.kills += 1,
            Action::Restart => self.restarts += 1,
            Action::Freeze(asleep) => {
                self.freezes += 1;
                self.past_a_lease += u32::from(asleep >= PAST_A_LEASE);
            }
        }
        self.own_ends += u32::from(own_end);
        self.away += away;
    }
}

fn line(at: Duration, fault: &Fault) -> String {
    let what = match fault.action {
        Action::Kill(away) => format!("kill -9, away for {:.1} s", away.as_secs_f64()),
        Action::Freeze(asleep) => format!("frozen for {:.1} s", asleep.as_secs_f64()),
        Action::Restart => "restart".to_owned(),
    };
    format!("{:6.1} s  {:<20} {what}", at.as_secs_f64(), fault.target)
}

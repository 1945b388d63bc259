//! Calls that come while others are under way are carried out together: group commit, on the client's side.
//!
//! A statement for many rows costs the database little more than one for a single row: one round trip, one plan, one flush to disk. Who comes alone does
//! not wait for company, though: a call that comes while a lane is free and no pace is being kept is carried out at once. Groups form of calls that come
//! in the same moment and of those that had to wait anyway, so they grow with the load. Where one group of several was, more will come: the next one may
//! be made to wait for a moment ([`GroupLimits::pace`]), in which it grows, instead of taking a processor for few calls that others need for theirs.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What is done with a group.
pub trait GroupWork: Send + Sync + 'static {
    /// What a caller brings.
    type Item: Send + 'static;
    /// What it gets.
    type Outcome: Send + 'static;

    /// Carries out all `items`, at least one, and gives an outcome for each, in the same order. An item without one is [`NotDone::Unknown`] to its caller. It
    /// bounds its own time: callers wait until it returns.
    fn carry_out(&self, items: Vec<Self::Item>) -> impl Future<Output = Vec<Self::Outcome>> + Send;
}

/// How much goes on at a time.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Groups under way at a time. More of them wait less for each other, and are smaller.
    pub lanes: usize,
    /// Most calls in a group.
    pub largest: usize,
    /// Most calls that wait for a lane. What comes then is refused at once.
    pub waiting: usize,
    /// From the beginning of a group of several to that of the next one, at least, in whichever lane. What comes meanwhile makes the next one larger. After
    /// a group of one, and after one that was as large as may be, nobody waits.
    pub pace: Duration,
}

/// Why a call has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// As many wait already as may. Nothing was done.
    #[error("too many are waiting already")]
    Full,
    /// Its turn did not come for so long. Nothing was done, and nothing will be.
    #[error("no turn came within {0:?}")]
    Late(Duration),
    /// It was begun, and nobody knows how it ended.
    #[error("it was begun, and its end is not known")]
    Unknown,
}

/// Takes calls. Cheap to clone.
#[derive(Debug)]
pub struct Grouped<I, O>(mpsc::Sender<Call<I, O>>);

impl<I, O> Clone for Grouped<I, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Carries calls out.
#[derive(Debug)]
pub struct Lanes<W: GroupWork> {
    work: W,
    limits: GroupLimits,
    calls: mpsc::Receiver<CallOf<W>>,
}

#[derive(Debug)]
struct Call<I, O> {
    item: I,
    /// Whoever sets it first decides: a lane that it is carried out, its caller that it never is.
    decided: Arc<AtomicBool>,
    outcome: oneshot::Sender<O>,
}

/// `work` for calls that come together, and the lanes that do it.
pub fn grouped<W: GroupWork>(work: W, limits: GroupLimits) -> (Grouped<W::Item, W::Outcome>, Lanes<W>) {
    let (sender, calls) = mpsc::channel(limits.waiting.max(1));
    (Grouped(sender), Lanes { work, limits, calls })
}

impl<I, O> Grouped<I, O> {
    /// Has `item` carried out with whatever waits beside it. It waits for its turn for so long as `patience` at most, and then for its end.
    /// A call that is dropped before its turn is never carried out.
    pub async fn carry_out(&self, item: I, patience: Duration) -> Result<O, NotDone> {
        let (outcome, mut answer) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        let turn = Withdrawn(decided.clone());
        self.0.try_send(Call { item, decided, outcome }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotDone::Full,
            mpsc::error::TrySendError::Closed(_) => NotDone::Unknown,
        })?;
        let answered = match tokio::time::timeout(patience, &mut answer).await {
            Ok(answered) => answered,
            Err(_) if turn.withdraw() => return Err(NotDone::Late(patience)),
            Err(_) => answer.await,
        };
        answered.map_err(|_| NotDone::Unknown)
    }
}

/// Withdraws a call, unless its turn has come, when its caller goes away.
struct Withdrawn(Arc<AtomicBool>);

impl Withdrawn {
    /// Whether the call will never be carried out.
    fn withdraw(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Withdrawn {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<W: GroupWork> Lanes<W> {
    /// Runs until every [`Grouped`] is gone and all calls are carried out.
    ///
    /// # Errors
    /// A lane panicked. The calls of its group are [`NotDone::Unknown`].
    pub async fn run(self) -> Result<(), JoinError> {
        let queue = Queue { calls: self.calls, limits: self.limits, not_before: Instant::now() };
        let (work, queue) = (Arc::new(self.work), Arc::new(Mutex::new(queue)));
        let mut lanes = JoinSet::new();
        for _ in 0..self.limits.lanes.max(1) {
            lanes.spawn(lane(work.clone(), queue.clone()));
        }
        while let Some(ended) = lanes.join_next().await {
            ended?;
        }
        Ok(())
    }
}

type CallOf<W> = Call<<W as GroupWork>::Item, <W as GroupWork>::Outcome>;

/// The calls that wait, for one lane at a time.
struct Queue<W: GroupWork> {
    calls: mpsc::Receiver<CallOf<W>>,
    limits: GroupLimits,
    not_before: Instant,
}

impl<W: GroupWork> Queue<W> {
    /// Moves the next group into `group`; none if there will be no calls any more.
    async fn next(&mut self, group: &mut Vec<CallOf<W>>) {
        // A timer takes a millisecond at least.
        if Instant::now() < self.not_before {
            sleep_until(self.not_before).await;
        }
        let largest = self.limits.largest.max(1);
        if self.calls.recv_many(group, largest).await == 0 {
            return;
        }
        let room = largest - group.len();
        if room > 0 {
            // Whoever is about to call comes along.
            tokio::task::yield_now().await;
            group.extend(iter::from_fn(|| self.calls.try_recv().ok()).take(room));
        }
        if (2..largest).contains(&group.len()) {
            self.not_before = Instant::now() + self.limits.pace;
        }
    }
}

async fn lane<W: GroupWork>(work: Arc<W>, queue: Arc<Mutex<Queue<W>>>) {
    let mut group = Vec::new();
    loop {
        // One lane waits for calls while the others wait for it.
        queue.lock().await.next(&mut group).await;
        if group.is_empty() {
            return;
        }
        let (mut items, mut callers) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Call { item, decided, outcome } in group.drain(..) {
            if !decided.swap(true, Ordering::AcqRel) {
                items.push(item);
                callers.push(outcome);
            }
        }
        if items.is_empty() {
            continue;
        }
        for (caller, outcome) in callers.into_iter().zip(work.carry_out(items).await) {
            // A caller that went away meanwhile does not hear of it.
            caller.send(outcome).ok();
        }
    }
}

#[cfg(test)]
mod tests;

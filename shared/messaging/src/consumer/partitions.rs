//! The assigned partitions: a bounded queue and a task for each, and how far each has come.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Handler;
use super::delivery::{Outcome, Process, Record};

/// Records waiting per partition. A partition is paused at the high mark, which throws its prefetched records away, and resumed
/// at the low mark.
const HIGH: usize = 768;
const LOW: usize = 128;
/// What may still arrive between the high mark and the pause.
const CAPACITY: usize = 1024;

const NOTHING_DONE: i64 = -1;

type Key = (Arc<str>, i32);
type Spawn =
    Box<dyn Fn(mpsc::Receiver<Record>, CancellationToken, Arc<AtomicI64>) -> JoinHandle<()> + Send + Sync>;

/// One assignment of one partition. A new assignment of the same partition is a new value: nothing of the old one can leak into it.
struct Assigned {
    records: mpsc::Sender<Record>,
    give_up: CancellationToken,
    task: JoinHandle<()>,
    /// Offset after the last finished record.
    done: Arc<AtomicI64>,
    committed: i64,
    paused: bool,
}

/// All partitions of this consumer. Used by the polling thread only; the lock is there because librdkafka's callbacks take a shared reference.
pub(super) struct Partitions {
    assigned: Mutex<HashMap<Key, Assigned>>,
    commit_failed: AtomicBool,
    spawn: Spawn,
    runtime: Handle,
    drain: Duration,
}

impl Partitions {
    /// Must be called within a tokio runtime, which will run the tasks.
    pub(super) fn new<H: Handler, E: Display + 'static>(
        process: Arc<Process<H, E>>,
        drain: Duration,
    ) -> Self {
        let runtime = Handle::current();
        let tasks = runtime.clone();
        let spawn: Spawn = Box::new(move |records, give_up, done| {
            tasks.spawn(work(process.clone(), records, give_up, done))
        });
        Self { assigned: Mutex::default(), commit_failed: AtomicBool::new(false), spawn, runtime, drain }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Assigned>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record. `true`: the queue reached its high mark, pause the partition.
    pub(super) fn push(&self, record: Record) -> bool {
        let mut assigned = self.lock();
        let partition = assigned.entry((record.topic.clone(), record.partition)).or_insert_with(|| {
            let (records, queue) = mpsc::channel(CAPACITY);
            let (give_up, done) = (CancellationToken::new(), Arc::new(AtomicI64::new(NOTHING_DONE)));
            let task = (self.spawn)(queue, give_up.clone(), done.clone());
            Assigned { records, give_up, task, done, committed: NOTHING_DONE, paused: false }
        });
        // Waits only if more came after the pause than there is room for; a task that ended is noticed by `failed`.
        partition.records.blocking_send(record).ok();
        let full = !partition.paused && CAPACITY - partition.records.capacity() >= HIGH;
        partition.paused |= full;
        full
    }

    /// Paused partitions whose queue fell below the low mark; from now on they count as running.
    pub(super) fn take_resumable(&self) -> Option<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for ((topic, number), partition) in self.lock().iter_mut() {
            if partition.paused && CAPACITY - partition.records.capacity() <= LOW {
                partition.paused = false;
                list.add_partition(topic, *number);
            }
        }
        (list.count() > 0).then_some(list)
    }

    /// Offsets that moved since they were taken last; all of them after a failed commit.
    pub(super) fn take_offsets(&self) -> Option<TopicPartitionList> {
        offsets(self.lock().iter_mut(), self.commit_failed.swap(false, Ordering::Relaxed))
    }

    /// What was taken did not reach the broker.
    pub(super) fn commit_failed(&self) {
        self.commit_failed.store(true, Ordering::Relaxed);
    }

    /// Whether a task ended by itself, which it never does while its queue is open.
    pub(super) fn failed(&self) -> bool {
        self.lock().values().any(|partition| partition.task.is_finished())
    }

    /// Gives up partitions (all if `list` is `None`): stops intake, ends backoffs, lets running handlers finish until the drain deadline, and returns the offsets
    /// to commit. Blocks; called on the polling thread.
    pub(super) fn give_up(&self, list: Option<&TopicPartitionList>) -> Option<TopicPartitionList> {
        let mut lost: Vec<(Key, Assigned)> = self
            .lock()
            .extract_if(|(topic, partition), _| {
                list.is_none_or(|list| list.find_partition(topic, *partition).is_some())
            })
            .collect();
        for (_, partition) in &lost {
            partition.give_up.cancel();
        }
        self.runtime.block_on(async {
            let deadline = tokio::time::Instant::now() + self.drain;
            for ((topic, number), partition) in &mut lost {
                if tokio::time::timeout_at(deadline, &mut partition.task).await.is_err() {
                    warn!(%topic, partition = number, "a handler did not finish in time, its record will be delivered again");
                    partition.task.abort();
                }
            }
        });
        // All of them: an earlier commit may have failed.
        offsets(lost.iter_mut().map(|(key, partition)| (&*key, partition)), true)
    }
}

fn offsets<'a>(
    partitions: impl Iterator<Item = (&'a Key, &'a mut Assigned)>,
    committed_too: bool,
) -> Option<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for ((topic, number), partition) in partitions {
        let done = partition.done.load(Ordering::Acquire);
        if done > partition.committed || (committed_too && done != NOTHING_DONE) {
            partition.committed = done;
            // Adding an offset fails only for values below zero.
            list.add_partition_offset(topic, *number, Offset::Offset(done)).ok();
        }
    }
    (list.count() > 0).then_some(list)
}

async fn work<H: Handler, E: Display + 'static>(
    process: Arc<Process<H, E>>,
    mut records: mpsc::Receiver<Record>,
    give_up: CancellationToken,
    done: Arc<AtomicI64>,
) {
    loop {
        let record = tokio::select! {
            // Giving up wins over a full queue: what is still queued belongs to the next owner.
            biased;
            () = give_up.cancelled() => return,
            record = records.recv() => record,
        };
        let Some(record) = record else { return };
        if process.deliver(&record, &give_up).await == Outcome::Abandoned {
            return;
        }
        done.store(record.offset + 1, Ordering::Release);
    }
}

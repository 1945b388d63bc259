use std::sync::Mutex as StdMutex;

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::*;

const LONG: Duration = Duration::from_secs(30);
const ONE_LANE: GroupLimits = GroupLimits { lanes: 1, largest: 10, waiting: 10, pace: Duration::ZERO };
const PACED: GroupLimits = GroupLimits { lanes: 2, largest: 3, pace: Duration::from_millis(5), ..ONE_LANE };

/// Doubles numbers, as long as its gate lets a group through, and remembers the groups.
#[derive(Clone)]
struct Doubling {
    gate: Arc<Semaphore>,
    groups: Arc<StdMutex<Vec<Vec<u32>>>>,
}

impl Doubling {
    fn new(open: usize) -> Self {
        Self { gate: Arc::new(Semaphore::new(open)), groups: Arc::default() }
    }

    fn groups(&self) -> Vec<Vec<u32>> {
        self.groups.lock().unwrap().clone()
    }

    /// Waits until so many groups were begun.
    async fn begun(&self, groups: usize) {
        let begun = async {
            while self.groups().len() < groups {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, begun).await.expect("groups are begun");
    }
}

impl GroupWork for Doubling {
    type Item = u32;
    type Outcome = u32;

    async fn carry_out(&self, items: Vec<u32>) -> Vec<u32> {
        self.groups.lock().unwrap().push(items.clone());
        self.gate.acquire().await.unwrap().forget();
        items.into_iter().map(|item| item * 2).collect()
    }
}

fn start(work: &Doubling, limits: GroupLimits) -> Grouped<u32, u32> {
    let (calls, lanes) = grouped(work.clone(), limits);
    tokio::spawn(lanes.run());
    calls
}

/// A call under way; it is sent when this returns.
fn call(calls: &Grouped<u32, u32>, item: u32) -> tokio::task::JoinHandle<Result<u32, NotDone>> {
    let calls = calls.clone();
    tokio::spawn(async move { calls.carry_out(item, LONG).await })
}

/// Calls wait in the channel, so what room is left says how many do.
async fn waiting(calls: &Grouped<u32, u32>, expected: usize) {
    let all = async {
        while calls.0.max_capacity() - calls.0.capacity() != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, all).await.expect("calls wait");
}

#[tokio::test]
async fn a_call_that_finds_a_lane_free_goes_alone_and_at_once() {
    let work = Doubling::new(10);
    let calls = start(&work, ONE_LANE);
    assert_eq!(calls.carry_out(1, LONG).await, Ok(2));
    assert_eq!(calls.carry_out(2, LONG).await, Ok(4));
    assert_eq!(work.groups(), [[1], [2]]);
}

#[tokio::test]
async fn calls_that_wait_at_the_same_time_go_together_and_each_gets_its_own_outcome() {
    let work = Doubling::new(0);
    let calls = start(&work, GroupLimits { largest: 3, ..ONE_LANE });
    let first = call(&calls, 0);
    work.begun(1).await;
    let mut others = Vec::new();
    for item in 1..=4 {
        others.push(call(&calls, item));
        waiting(&calls, item as usize).await;
    }
    work.gate.add_permits(10);
    assert_eq!(first.await.unwrap(), Ok(0));
    let outcomes: Vec<_> = join_all(others).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(outcomes, [Ok(2), Ok(4), Ok(6), Ok(8)]);
    assert_eq!(work.groups(), [vec![0], vec![1, 2, 3], vec![4]]);
}

#[tokio::test(start_paused = true)]
async fn after_a_group_of_several_the_next_one_begins_a_pace_later_with_all_that_came_meanwhile() {
    let work = Doubling::new(10);
    let calls = start(&work, PACED);
    let began = Instant::now();
    let mut all = vec![call(&calls, 1), call(&calls, 2)];
    work.begun(1).await;
    all.push(call(&calls, 3));
    // Of the paused clock.
    tokio::time::sleep(Duration::from_millis(4)).await;
    assert_eq!(work.groups(), [[1, 2]]);
    all.push(call(&calls, 4));
    join_all(all).await;
    assert_eq!(work.groups(), [[1, 2], [3, 4]]);
    // The clock of the runtime goes in steps of a millisecond.
    let took = began.elapsed().as_millis();
    assert!((5..=6).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn who_comes_alone_after_a_group_of_several_waits_for_the_rest_of_its_pace_and_the_next_one_does_not() {
    let work = Doubling::new(10);
    let calls = start(&work, PACED);
    let began = Instant::now();
    join_all([call(&calls, 1), call(&calls, 2)]).await;
    calls.carry_out(3, LONG).await.unwrap();
    let third = began.elapsed();
    calls.carry_out(4, LONG).await.unwrap();
    assert_eq!(work.groups(), [vec![1, 2], vec![3], vec![4]]);
    assert!((5..=6).contains(&third.as_millis()) && began.elapsed() == third, "{third:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_patience_ends_within_the_pace_is_late_and_never_carried_out() {
    let work = Doubling::new(10);
    let calls = start(&work, PACED);
    join_all([call(&calls, 1), call(&calls, 2)]).await;
    let patience = Duration::from_millis(2);
    assert_eq!(calls.carry_out(3, patience).await, Err(NotDone::Late(patience)));
    assert_eq!(calls.carry_out(4, LONG).await, Ok(8));
    assert_eq!(work.groups(), [vec![1, 2], vec![4]]);
}

#[tokio::test]
async fn who_is_about_to_call_as_a_group_begins_comes_along() {
    let work = Doubling::new(10);
    let calls = start(&work, ONE_LANE);
    // After this the lane waits for the next call.
    calls.carry_out(0, LONG).await.unwrap();
    let mut first = Box::pin(calls.carry_out(1, LONG));
    // It wakes the lane, behind which the second caller then stands in the queue of this test's only thread.
    assert!(futures::poll!(&mut first).is_pending());
    let second = call(&calls, 2);
    assert_eq!((first.await, second.await.unwrap()), (Ok(2), Ok(4)));
    assert_eq!(work.groups(), [vec![0], vec![1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn after_a_call_alone_and_after_a_group_that_was_full_nobody_waits() {
    let work = Doubling::new(10);
    let calls = start(&work, PACED);
    let began = Instant::now();
    for alone in [1, 2] {
        calls.carry_out(alone, LONG).await.unwrap();
    }
    join_all((3..=6).map(|item| call(&calls, item))).await;
    assert_eq!(work.groups(), [vec![1], vec![2], vec![3, 4, 5], vec![6]]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn lanes_work_beside_each_other() {
    let work = Doubling::new(0);
    let calls = start(&work, GroupLimits { lanes: 2, ..ONE_LANE });
    let first = call(&calls, 1);
    work.begun(1).await;
    let second = call(&calls, 2);
    work.begun(2).await;
    work.gate.add_permits(2);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(2), Ok(4)));
}

#[tokio::test]
async fn a_call_beyond_those_that_may_wait_is_refused_at_once_and_never_carried_out() {
    let work = Doubling::new(0);
    let calls = start(&work, GroupLimits { waiting: 1, ..ONE_LANE });
    let first = call(&calls, 1);
    work.begun(1).await;
    let second = call(&calls, 2);
    waiting(&calls, 1).await;
    assert_eq!(calls.carry_out(3, LONG).await, Err(NotDone::Full));
    work.gate.add_permits(10);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(2), Ok(4)));
    assert_eq!(work.groups(), [[1], [2]]);
}

#[tokio::test]
async fn a_call_that_gives_up_before_its_turn_is_never_carried_out_and_knows_it() {
    let work = Doubling::new(0);
    let calls = start(&work, ONE_LANE);
    let first = call(&calls, 1);
    work.begun(1).await;
    assert_eq!(calls.carry_out(2, Duration::ZERO).await, Err(NotDone::Late(Duration::ZERO)));
    let dropped = call(&calls, 3);
    waiting(&calls, 2).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    work.gate.add_permits(10);
    assert_eq!(first.await.unwrap(), Ok(2));
    assert_eq!(calls.carry_out(4, LONG).await, Ok(8));
    assert_eq!(work.groups(), [[1], [4]]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_has_come_waits_for_its_end_however_short_its_patience() {
    let work = Doubling::new(0);
    let calls = start(&work, ONE_LANE);
    let impatient = {
        let calls = calls.clone();
        tokio::spawn(async move { calls.carry_out(1, Duration::from_millis(50)).await })
    };
    work.begun(1).await;
    // Of the paused clock: its patience is over first.
    tokio::time::sleep(Duration::from_millis(60)).await;
    work.gate.add_permits(1);
    assert_eq!(impatient.await.unwrap(), Ok(2));
}

#[tokio::test]
async fn lanes_end_when_nobody_can_call_any_more_and_not_before_all_is_done() {
    let work = Doubling::new(0);
    let (calls, lanes) = grouped(work.clone(), GroupLimits { lanes: 2, largest: 1, ..ONE_LANE });
    let lanes = tokio::spawn(lanes.run());
    let all: Vec<_> = (1..=3).map(|item| call(&calls, item)).collect();
    work.begun(2).await;
    drop(calls);
    work.gate.add_permits(3);
    assert!(join_all(all).await.into_iter().all(|outcome| outcome.unwrap().is_ok()));
    lanes.await.unwrap().unwrap();
}

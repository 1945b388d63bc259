//! librdkafka's callbacks. They run on the polling thread, inside `poll`.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientContext, TopicPartitionList};
use tracing::{debug, info, warn};

use super::desk::SharedDesk;
use super::parting::{self, Itself};
use super::status::ConsumerStatus;

pub(super) struct Context {
    pub(super) desk: SharedDesk,
    /// Some offsets did not reach the broker.
    pub(super) commit_failed: AtomicBool,
    pub(super) status: ConsumerStatus,
    pub(super) itself: Itself,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    /// The group waits for this callback, so partitions reach their next owner only after what was done here is committed.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(list) => {
                // Thrown out of the group: the partitions belong to others already, who start at what was committed before.
                let lost = consumer.assignment_lost();
                info!(partitions = list.count(), lost, "partitions revoked");
                if let Some(offsets) = self.desk.give_up(Some(list), lost)
                    && !lost
                    && let Err(error) = parting::commit(&self.itself, offsets)
                {
                    warn!(%error, "could not commit revoked partitions, their last records will be delivered again");
                }
            }
            Rebalance::Assign(list) => {
                info!(partitions = list.count(), "partitions assigned");
                self.desk.assign(list);
                // librdkafka remembers from one assignment to the next that we paused a partition; the new ledger knows of no pause and
                // would never end it.
                if let Err(error) = consumer.resume(list) {
                    warn!(%error, "partitions may stay paused from an assignment before");
                }
            }
            Rebalance::Error(error) => {
                warn!(%error, "rebalance failed, all partitions are given up");
                self.desk.give_up(None, true);
            }
        }
    }

    /// A failed commit is made up for by the next one, which carries all offsets again.
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "commit failed, will be repeated");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.status.joined(true);
        }
    }
}

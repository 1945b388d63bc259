//! The parts of the process and the order in which they start.

use std::fmt::Display;
use std::future::{Future, ready};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use futures::future::BoxFuture;
use messaging::consumer::{
    self, BatchHandler, ConsumerError, ConsumerSettings, ConsumerStatus, Decode, Handler,
};
use messaging::{KafkaSettings, lag};
use persistence::held::HeldRows;
use persistence::pool::{self, BadDatabaseUrl};
use service_runtime::health::{Health, HealthBuilder};
use service_runtime::http::{self, Limits};
use service_runtime::scrape;
use service_runtime::supervise::Supervisor;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::held::InDatabase;
use crate::housekeeping;
use crate::intake::Intake;
use crate::retention::{self, Unanswered};
use crate::settings::{AfterDeadLetter, ConsumerArgs, Retention};

/// What is fixed about a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Name of the process, in health and in the database's list of sessions.
    pub service: &'static str,
    /// The consumer group; it also names the group's dead-letter and retry topics.
    pub name: &'static str,
    /// The topic that it reads.
    pub topic: &'static str,
    /// What its database looks like, the tables of `persistence` included.
    pub migrations: &'static Migrator,
}

/// A part of the process that the handler needs.
type Beside = BoxFuture<'static, anyhow::Result<()>>;

/// A process around one consumer group, not yet started.
pub struct ConsumerService {
    group: Group,
    pool: PgPool,
    status: ConsumerStatus,
    health: HealthBuilder,
    routes: Router,
    inbox_retention: Retention,
    unanswered: Unanswered,
    metrics: Metrics,
    beside: Vec<(&'static str, Beside)>,
    /// How the group consumes; to be changed before the start.
    pub settings: ConsumerSettings,
}

impl ConsumerService {
    /// A process that keeps its inbox in the database at `url`, with so many connections; it connects in the background.
    pub fn new(
        group: Group,
        args: ConsumerArgs,
        url: &str,
        connections: u32,
    ) -> Result<Self, BadDatabaseUrl> {
        let pool = pool::connect_lazy_planned_once(url, connections, group.service)?;
        let status = ConsumerStatus::default();
        let mut settings = ConsumerSettings::new(args.kafka, args.retry, group.name, group.topic);
        settings.guard = args.guard;
        settings.protocol = args.group_protocol;
        settings.held_keys = match args.after_dead_letter {
            AfterDeadLetter::Continue => None,
            AfterDeadLetter::HoldKey => Some(Arc::new(InDatabase(HeldRows::new(pool.clone())))),
        };
        let unanswered = Unanswered::default();
        let health = health(group.service, &pool, &status, &unanswered);
        let (routes, inbox_retention) = (Router::new(), args.inbox_retention);
        let metrics = Metrics::new();
        persistence::metrics::pools(&metrics, &[(group.service, &pool)]);
        let beside = Vec::new();
        Ok(Self {
            group,
            pool,
            status,
            health,
            routes,
            inbox_retention,
            unanswered,
            metrics,
            beside,
            settings,
        })
    }

    /// The database.
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Where the process shows its metrics, for those of its own.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Adds a dependency to `/health` whose absence makes the process `degraded`, and not unready: a provider, say, while which is away there is
    /// nothing better to do than to wait.
    #[must_use]
    pub fn dependency(
        mut self,
        name: &'static str,
        state: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.health = self.health.optional(name, move || ready(state()));
        self
    }

    /// Runs `work` that the handler needs, and fails when it fails. It goes on while the consumer drains, so it has to end by itself when the handler is dropped.
    #[must_use]
    pub fn beside(
        mut self,
        name: &'static str,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Self {
        self.beside.push((name, Box::pin(work)));
        self
    }

    /// Serves these routes beside those of health.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = routes;
        self
    }

    /// Consumes one message at a time for each key, and serves health on `listener`, until `shutdown`.
    pub async fn run<H, E>(
        self,
        decode: Decode<H::Event, E>,
        handler: H,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()>
    where
        H: Handler,
        E: Display + 'static,
    {
        self.supervise(listener, shutdown, |settings, status, shutdown| {
            consumer::run(settings, decode, handler, status, shutdown)
        })
        .await
    }

    /// As [`Self::run`], in batches.
    pub async fn run_batches<H, E>(
        self,
        decode: Decode<H::Event, E>,
        handler: H,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()>
    where
        H: BatchHandler,
        E: Display + 'static,
    {
        self.supervise(listener, shutdown, |settings, status, shutdown| {
            consumer::run_batches(settings, decode, handler, status, shutdown)
        })
        .await
    }

    async fn supervise<F>(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
        consume: impl FnOnce(ConsumerSettings, ConsumerStatus, CancellationToken) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = Result<(), ConsumerError>> + Send + 'static,
    {
        let Self {
            group,
            pool,
            status,
            health,
            routes,
            inbox_retention,
            unanswered,
            metrics,
            beside,
            settings,
        } = self;
        let health = health.not_ready_yet().build();
        settings.metrics.register(&metrics, &status);
        let routes = routes.merge(health.routes()).merge(scrape::routes(&metrics, &health));
        let router = http::harden(routes, Limits::default(), &metrics);
        lag::watch(
            &settings.kafka,
            group.name,
            &settings.topics,
            settings.metrics.lag.clone(),
            shutdown.clone(),
        )?;
        let intake = Intake::new(pool.clone(), group.service, status.clone());
        let kafka = settings.kafka.clone();
        let consuming = consume(settings, status, shutdown.clone());
        // The tables are there, and it is known whether the group is paused.
        let prepared = CancellationToken::new();

        let mut supervisor = Supervisor::new(shutdown.clone());
        supervisor.spawn("http", http::serve(listener, router, shutdown.clone()));
        let told = follow(group, pool.clone(), intake, health, prepared.clone());
        supervisor.spawn("intake", until(shutdown.clone(), told));
        let kept = keep_house(group, pool, kafka, inbox_retention, unanswered, prepared.clone());
        supervisor.spawn("inbox", until(shutdown.clone(), kept));
        for (name, work) in beside {
            let stop = shutdown.clone();
            supervisor.spawn(name, async move {
                work.await?;
                // A consumer that fails drops its handler: the failure to tell is the consumer's.
                stop.cancelled().await;
                Ok(())
            });
        }
        supervisor.spawn("consumer", async move {
            tokio::select! {
                () = prepared.cancelled() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            // It stops by itself, so that it can drain.
            Ok(consuming.await?)
        });
        supervisor.run().await
    }
}

/// Runs what has nothing to bring to an end.
async fn until(
    shutdown: CancellationToken,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    shutdown.run_until_cancelled(work).await.unwrap_or(Ok(()))
}

async fn follow(
    group: Group,
    pool: PgPool,
    mut intake: Intake,
    health: Health,
    prepared: CancellationToken,
) -> anyhow::Result<()> {
    pool::migrate_when_available(&pool, group.migrations).await.context("the database cannot be migrated")?;
    intake.first_word().await;
    health.set_ready(true);
    prepared.cancel();
    intake.follow().await;
    Ok(())
}

async fn keep_house(
    group: Group,
    pool: PgPool,
    kafka: KafkaSettings,
    retention: Retention,
    unanswered: Unanswered,
    prepared: CancellationToken,
) -> anyhow::Result<()> {
    let Retention::For(keep) = retention else { return std::future::pending().await };
    retention::check(&kafka, group.topic, group.name, keep, &unanswered).await?;
    prepared.cancelled().await;
    housekeeping::prune(&pool, keep).await;
    Ok(())
}

fn health(
    service: &'static str,
    pool: &PgPool,
    status: &ConsumerStatus,
    unanswered: &Unanswered,
) -> HealthBuilder {
    let unanswered = unanswered.clone();
    let (pool, joined, flow, live) = (pool.clone(), status.clone(), status.clone(), status.clone());
    Health::builder(service)
        .required("postgres", move || {
            let pool = pool.clone();
            async move { pool::ping(&pool).await.map_err(|error| error.to_string()) }
        })
        .required("kafka", move || ready(joined.ready()))
        .optional("intake", move || ready(flow.flowing()))
        .optional("inbox", move || ready(unanswered.state()))
        .live("consumer", move || live.is_live())
}

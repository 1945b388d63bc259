//! The stages behind the topic: read first, compared when the fate of every event is known.

use std::ops::RangeInclusive;

use sqlx::PgConnection;
use uuid::Uuid;

use super::accepted::{Accepted, look_up, sales_of};
use super::compare::{
    Claim, Excuse, Excuses, Fate, Figures, Minutes, Once, Orders, Reserved, Stage, Stock, UNKNOWN, minute_of,
    sales, stock,
};
use super::effects::{self, Counted};
use super::provider;
use super::settings::{AuditSettings, Provider};
use super::topic::{Group, Late};
use crate::time::CLOCKS;

/// What became of the first event of each order, by position.
pub(super) struct FirstEvents<'a> {
    pub(super) fates: &'a [Fate],
    /// The minute in which it was decided.
    pub(super) minutes: &'a [i64],
}

impl FirstEvents<'_> {
    fn excuses<'a>(&'a self, group: &'a Group) -> Excuses<'a> {
        Excuses { fates: self.fates, behind: &group.behind, dead: &group.dead }
    }
}

/// Effects that belong to none of the audited orders.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    email: Vec<Uuid>,
    sms: Vec<Uuid>,
    reserved: Vec<Uuid>,
    provider: provider::Strangers,
    /// Deliveries that name no order.
    pub(super) unnamed: u64,
}

/// The effects as they were read.
pub(super) struct Effects {
    email: Once,
    sms: Once,
    /// E-mails and text messages in the provider's books, if it can be asked.
    delivered: Option<(Once, Once)>,
    reserved: Reserved,
    stock: Vec<Stock>,
    counted: Counted,
    examples: usize,
}

impl Effects {
    pub(super) fn new(settings: &AuditSettings, orders: usize) -> Self {
        let examples = settings.examples.into();
        let once = |name| Once::new(Stage::new(name, "orders", examples), orders);
        Self {
            email: once("email"),
            sms: once("sms"),
            delivered: (settings.provider != Provider::NotAsked)
                .then(|| (once("email-provider"), once("sms-provider"))),
            reserved: Reserved::new(Stage::new("inventory", "orders", examples), orders),
            stock: Vec::new(),
            counted: Counted::default(),
            examples,
        }
    }

    /// Reads every database, and the provider's books.
    pub(super) async fn read(
        &mut self,
        settings: &AuditSettings,
        orders: &Orders,
    ) -> anyhow::Result<Strangers> {
        let (urls, since) = (&settings.databases, settings.since.map(|since| since - CLOCKS));
        let mut strangers = Strangers::default();
        let url = &urls.audit_email_database_url;
        strangers.email = effects::confirmations(url, "email", since, orders, &mut self.email).await?;
        let url = &urls.audit_sms_database_url;
        strangers.sms = effects::confirmations(url, "sms", since, orders, &mut self.sms).await?;
        let url = &urls.audit_inventory_database_url;
        (strangers.reserved, self.stock) = effects::inventory(url, since, orders, &mut self.reserved).await?;
        self.counted = effects::analytics(&urls.audit_analytics_database_url).await?;
        if let (Provider::Simulator(url), Some((email, sms))) = (&settings.provider, &mut self.delivered) {
            strangers.provider = provider::read(url, since, orders, email, sms).await?;
            strangers.unnamed = strangers.provider.unnamed;
        }
        Ok(strangers)
    }

    /// Effects whose order does not exist. An order is committed before any effect of it, so looking now is late enough.
    pub(super) async fn look_for_phantoms(
        &mut self,
        strangers: &Strangers,
        database: &mut PgConnection,
    ) -> anyhow::Result<()> {
        for id in without_order(&strangers.email, database).await? {
            self.email.phantom(&id.to_string());
        }
        for id in without_order(&strangers.sms, database).await? {
            self.sms.phantom(&id.to_string());
        }
        for id in without_order(&strangers.reserved, database).await? {
            self.reserved.phantom(&id.to_string());
        }
        if let Some((email, sms)) = &mut self.delivered {
            for id in without_order(&strangers.provider.email, database).await? {
                email.phantom(&id.to_string());
            }
            for id in without_order(&strangers.provider.sms, database).await? {
                sms.phantom(&id.to_string());
            }
        }
        Ok(())
    }

    /// The row of the sales per product; the lines of orders whose event waits or came late are looked up.
    pub(super) async fn sales(
        &self,
        accepted: &Accepted,
        first: &FirstEvents<'_>,
        [.., analytics]: &[Group; 4],
        late: &[Late],
        database: &mut PgConnection,
    ) -> anyhow::Result<Stage> {
        let excuses = first.excuses(analytics);
        let orders = accepted.orders.all().iter().enumerate();
        let excused: Vec<Uuid> = orders
            .filter(|(position, _)| excuses.of(*position).is_some())
            .map(|(_, order)| order.id)
            .collect();
        let late: Vec<Uuid> = late.iter().map(|late| late.id).collect();
        let (mut must, mut may) = (accepted.sales.clone(), sales_of(database, &late).await?);
        let excused = sales_of(database, &excused).await?;
        must.subtract(&excused);
        may.add_all(&excused);
        let stage = Stage::new("sales", "products", self.examples);
        Ok(sales(stage, &must, &may, &self.counted.sales))
    }

    /// The other rows, in the order in which they are shown.
    pub(super) fn finish(
        self,
        orders: &Orders,
        first: &FirstEvents<'_>,
        [email, sms, inventory, analytics]: &[Group; 4],
        late: &[Late],
        minutes: RangeInclusive<i64>,
    ) -> Vec<Stage> {
        let (email, sms) = (first.excuses(email), first.excuses(sms));
        let (sent_email, sent_sms) = self.delivered.unzip();
        let stages = [
            Some(self.email.finish(orders, &email)),
            sent_email.map(|sent| sent.finish(orders, &email)),
            Some(self.sms.finish(orders, &sms)),
            sent_sms.map(|sent| sent.finish(orders, &sms)),
            Some(self.reserved.finish(orders, &first.excuses(inventory))),
            Some(stock(Stage::new("stock", "products", self.examples), &self.stock)),
            Some({
                let stage = Stage::new("analytics", "orders", self.examples);
                let minutes = expected_minutes(Minutes::new(stage, minutes), orders, first, analytics, late);
                minutes.finish(&self.counted.minutes)
            }),
        ];
        stages.into_iter().flatten().collect()
    }
}

fn expected_minutes(
    mut minutes: Minutes,
    orders: &Orders,
    first: &FirstEvents<'_>,
    group: &Group,
    late: &[Late],
) -> Minutes {
    let excuses = first.excuses(group);
    for (position, order) in orders.all().iter().enumerate() {
        let claim = match excuses.of(position) {
            None => Claim::Must,
            Some(Excuse::Waiting(_)) => Claim::Waits,
            Some(Excuse::Skipped) => Claim::Skipped,
        };
        let figures = Figures::order(order.revenue_cents);
        match first.minutes.get(position) {
            Some(minute) if *minute != UNKNOWN => minutes.order(*minute, figures, claim),
            _ => minutes.order_about(minute_of(order.created_at), figures, claim),
        }
    }
    for order in late {
        minutes.order(order.minute, Figures::order(order.revenue_cents), Claim::Late);
    }
    minutes
}

async fn without_order(ids: &[Uuid], database: &mut PgConnection) -> anyhow::Result<Vec<Uuid>> {
    let known = look_up(database, ids).await?;
    Ok(ids.iter().copied().filter(|id| !known.contains_key(id)).collect())
}

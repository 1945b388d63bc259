//! `ops audit` and `ops restock` as an operator calls them.

use std::process::Output;

use ops::audit::{AuditSettings, Provider, audit};
use serde_json::Value;
use tokio::process::Command;

use crate::copy::{Copy, cells};

pub(crate) async fn ops(settings: &AuditSettings, arguments: &[&str]) -> Output {
    let databases = &settings.databases;
    let provider = match &settings.provider {
        Provider::Simulator(url) => url,
        Provider::NotAsked => "none",
    };
    Command::new(env!("CARGO_BIN_EXE_ops"))
        .args(arguments)
        .env("KAFKA_BROKERS", &settings.kafka.brokers)
        .env("AUDIT_PROVIDER_URL", provider)
        .env("AUDIT_ORDERS_DATABASE_URL", &databases.audit_orders_database_url)
        .env("AUDIT_EMAIL_DATABASE_URL", &databases.audit_email_database_url)
        .env("AUDIT_SMS_DATABASE_URL", &databases.audit_sms_database_url)
        .env("AUDIT_INVENTORY_DATABASE_URL", &databases.audit_inventory_database_url)
        .env("AUDIT_ANALYTICS_DATABASE_URL", &databases.audit_analytics_database_url)
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_exit_status_is_0_without_findings_1_with_findings_and_2_if_nothing_can_be_said() {
    let mut copy = Copy::healthy().await;
    copy.finish().await;
    let topic = copy.settings.topic.clone();
    let clean = ops(&copy.settings, &["audit", "--topic", &topic]).await;
    let table = String::from_utf8(clean.stdout).unwrap();
    assert_eq!(clean.status.code(), Some(0), "{table}");
    assert!(table.contains("Clean: nothing missing") && table.contains("out of order"), "{table}");

    copy.sql("sms", "DELETE FROM deliveries WHERE order_id = $1", 3).await;
    let found = ops(&copy.settings, &["audit", "--topic", &topic, "--json"]).await;
    assert_eq!(found.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((&json["clean"], &json["accepted"]["orders"]), (&false.into(), &20.into()), "{json}");
    let stages = json["stages"].as_array().unwrap();
    let sms = stages.iter().find(|stage| stage["stage"] == "sms").unwrap();
    assert_eq!(sms["missing"], 1, "{json}");
    assert_eq!(sms["examples"][0]["column"], "missing");
    assert_eq!(sms["examples"][0]["subject"], copy.orders[3].to_string());

    copy.settings.provider = Provider::Simulator("http://127.0.0.1:1".to_owned());
    let failed = ops(&copy.settings, &["audit", "--topic", &topic]).await;
    assert_eq!(failed.status.code(), Some(2));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.starts_with("ops: could not audit: the provider at http://127.0.0.1:1"), "{said}");
    for wrong in [&["--since", "yesterday"][..], &["--since", "1h", "--until", "2h"]] {
        assert_eq!(
            ops(&copy.settings, &[&["audit"], wrong].concat()).await.status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn a_restock_is_a_recorded_movement_so_the_stock_still_balances() {
    let mut copy = Copy::healthy().await;
    copy.finish().await;
    let restock = async |arguments: &[&str]| {
        let arguments =
            [&["restock", "--inventory-database-url", copy.inventory_url()][..], arguments].concat();
        ops(&copy.settings, &arguments).await
    };
    let before = audit(&copy.settings).await.unwrap();
    assert_eq!(restock(&["7", "500"]).await.status.code(), Some(0));
    let all = restock(&["all", "10"]).await;
    assert_eq!(String::from_utf8(all.stdout).unwrap(), "100 products have 10 pieces more\n");
    copy.sql(
        "inventory",
        "SELECT 1 FROM stock_movements WHERE reason = 'restock' AND $1::uuid IS NOT NULL",
        0,
    )
    .await;
    let after = audit(&copy.settings).await.unwrap();
    assert_eq!((cells(&before), cells(&after)), (vec![], vec![]), "{after}");

    for (arguments, reason) in [
        (["4711", "1"], "the stock knows no product 4711"),
        (["seven", "1"], "expected a product's id or all"),
        (["7", "0"], "0 is not in 1..=1000000"),
        (["7", "1000001"], "1000001 is not in 1..=1000000"),
    ] {
        let refused = restock(&arguments).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(reason), "{arguments:?}: {said}");
    }
}

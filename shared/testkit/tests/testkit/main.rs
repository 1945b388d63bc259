//! The kit against real servers: what the tests of every service rely on.

use std::collections::HashSet;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::{Connection, PgConnection};
use testkit::{Kind, PATIENCE, Servers, eventually};

const ROLES: [&str; 6] = ["orders", "inventory", "email", "sms", "analytics", "baseline"];

#[tokio::test]
async fn a_database_belongs_to_its_role_and_has_that_roles_time_outs() {
    let servers = Servers::shared().await;
    for role in ROLES {
        let database = servers.database(role).await;
        let mut connection = PgConnection::connect(database.url()).await.expect("the role connects");
        sqlx::query("CREATE TABLE t (id int)")
            .execute(&mut connection)
            .await
            .expect("the role owns the schema");
        let user: String =
            sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut connection).await.unwrap();
        assert_eq!(user, role);
        for setting in ["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"] {
            let value: String = sqlx::query_scalar("SELECT current_setting($1)")
                .bind(setting)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_ne!(value, "0", "{role} has no {setting}");
        }
    }
}

#[tokio::test]
async fn a_role_cannot_connect_to_the_database_of_another() {
    let servers = Servers::shared().await;
    let orders = servers.database("orders").await;
    let as_email = orders.url().replacen("orders:orders", "email:email", 1);
    let error = PgConnection::connect(&as_email).await.expect_err("email must not get into orders");
    let code =
        error.as_database_error().and_then(|error| error.code()).expect("Postgres refuses").into_owned();
    assert_eq!(code, "42501", "{error}");
}

#[tokio::test]
async fn the_auditor_reads_every_services_tables_and_writes_none_even_when_it_tries() {
    let servers = Servers::shared().await;
    for role in ROLES {
        let database = servers.database(role).await;
        let owner = database.pool().await;
        sqlx::raw_sql("CREATE TABLE t (id int); INSERT INTO t VALUES (7)").execute(&owner).await.unwrap();
        let mut auditor = PgConnection::connect(&database.auditor_url()).await.expect("the auditor connects");
        let seen: i32 = sqlx::query_scalar("SELECT id FROM t").fetch_one(&mut auditor).await.unwrap();
        assert_eq!(seen, 7);
        for write in ["DELETE FROM t", "SET default_transaction_read_only = off", "DELETE FROM t"] {
            let refused = sqlx::raw_sql(write).execute(&mut auditor).await;
            assert!(refused.is_err() || write.starts_with("SET"), "{role}: the auditor could {write}");
        }
    }
}

#[tokio::test]
async fn a_database_is_gone_when_the_test_drops_it_even_with_a_pool_still_open() {
    let servers = Servers::shared().await;
    let database = servers.database("sms").await;
    let url = database.url().to_owned();
    let _pool = database.pool().await;
    drop(database);
    // Nobody waits for the thread that drops it.
    eventually("Postgres knows no such database", async || match PgConnection::connect(&url).await {
        Err(error) if error.as_database_error().is_some_and(|error| error.code() == Some("3D000".into())) => {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn databases_can_be_made_side_by_side() {
    let servers = Servers::shared().await;
    let (a, b, c) =
        tokio::join!(servers.database("email"), servers.database("email"), servers.database("sms"));
    let urls: HashSet<_> = [a.url(), b.url(), c.url()].map(str::to_owned).into();
    assert_eq!(urls.len(), 3);
}

#[tokio::test]
async fn a_topic_is_new_and_has_its_partitions_when_it_is_handed_out() {
    let servers = Servers::shared().await;
    let (first, second) = tokio::join!(servers.topic("kit.events", 3), servers.topic("kit.events", 3));
    assert_ne!(first, second);
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers.kafka_brokers()).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(&first), PATIENCE).expect("metadata");
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
}

#[tokio::test]
async fn two_tests_get_two_redis_databases() {
    let servers = Servers::shared().await;
    let (first, second) = (servers.redis_database().await, servers.redis_database().await);
    assert_ne!(first, second);
    assert!(first.starts_with(servers.redis_url()), "{first}");
}

#[tokio::test]
async fn servers_of_its_own_can_be_stopped_and_come_back_at_the_same_address_with_their_data() {
    let servers = Servers::private(&[Kind::Postgres, Kind::Redis]).await;
    let database = servers.database("analytics").await;
    let pool = database.pool().await;
    sqlx::raw_sql("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)").execute(&pool).await.unwrap();

    for killed in [false, true] {
        if killed {
            servers.kill(Kind::Postgres).await
        } else {
            servers.stop(Kind::Postgres).await
        }
        assert!(PgConnection::connect(database.url()).await.is_err(), "Postgres still answers");

        servers.start_again(Kind::Postgres).await;
        let kept = eventually("the row is there again", async || {
            sqlx::query_scalar::<_, i32>("SELECT id FROM kept").fetch_one(&pool).await
        });
        assert_eq!(kept.await, 7);
    }
}

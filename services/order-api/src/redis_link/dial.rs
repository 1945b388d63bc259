//! How a connection to Redis is made.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisError,
};
use tracing::warn;

use crate::near::Near;

/// Opens connections, if it can such on which Redis tells [`Near`] what changes.
pub(super) struct Dial {
    client: Client,
    /// For connections that tell. The older form of the protocol has no room for messages that nobody asked for.
    telling: Option<Client>,
    timeout: Duration,
    near: Arc<Near>,
}

impl Dial {
    pub(super) fn new(url: &str, timeout: Duration, near: Arc<Near>) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        let telling = if near.is_on() {
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Some(Client::open(info.clone().set_redis_settings(settings))?)
        } else {
            None
        };
        Ok(Self { client: Client::open(info)?, telling, timeout, near })
    }

    /// A connection, and whether Redis will tell on it what changes.
    pub(super) async fn open(&self, generation: u64) -> Result<(MultiplexedConnection, bool), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        if let Some(telling) = &self.telling {
            match self.open_telling(telling, generation, config.clone()).await {
                // The server is there and does not speak the newer form: a Redis before 6, or something between.
                Err(error) if is_refused(&error) => stays_silent(&error),
                opened => return opened,
            }
        }
        Ok((self.client.get_multiplexed_async_connection_with_config(&config).await?, false))
    }

    async fn open_telling(
        &self,
        client: &Client,
        generation: u64,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, bool), RedisError> {
        let near = self.near.clone();
        // Called by the task that reads from the connection, before it hands on what came later.
        let config =
            config.set_push_sender(move |message: PushInfo| -> Result<(), std::convert::Infallible> {
                near.hear(generation, &message);
                Ok(())
            });
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let track = redis::cmd("CLIENT").arg("TRACKING").arg("ON").take();
        match track.query_async::<()>(&mut connection).await {
            Ok(()) => Ok((connection, true)),
            // Not allowed to this user, for example.
            Err(error) if is_refused(&error) => {
                stays_silent(&error);
                Ok((connection, false))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the server answered, and said no.
fn is_refused(error: &RedisError) -> bool {
    error.code().is_some() || error.kind() == ErrorKind::RESP3NotSupported
}

/// Then every read asks.
fn stays_silent(error: &RedisError) {
    warn!(%error, "Redis will not tell what changes, products are not kept in memory");
}

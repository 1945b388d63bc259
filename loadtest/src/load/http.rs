//! A lean HTTP/1.1 client for load: one kept connection, one request on it at a time.
//!
//! Who makes load here shares the processors with the system that is measured, so a request has to cost little: bodies come as bytes, and the
//! connection is driven by the very task that waits for the answer, so that no other task has to be woken.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

/// A server, by its address and by the name under which it was asked for.
#[derive(Clone, Debug)]
pub struct Origin {
    address: SocketAddr,
    host: HeaderValue,
}

impl Origin {
    /// The server at a URL such as `http://127.0.0.1:5001`.
    ///
    /// # Errors
    /// It is no such URL, or no address belongs to the name.
    pub async fn resolve(url: &str) -> anyhow::Result<Self> {
        let name = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).unwrap_or_default();
        if name.is_empty() || name.contains('/') {
            bail!("'{url}' is no address of a shop: expected http://host:port");
        }
        let target = if name.contains(':') { name.to_owned() } else { format!("{name}:80") };
        let mut found = lookup_host(&target).await.with_context(|| format!("'{url}' leads to no address"))?;
        let address = found.next().with_context(|| format!("'{url}' leads to no address"))?;
        Ok(Self { address, host: HeaderValue::from_str(name)? })
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        let host = HeaderValue::from_str(&address.to_string());
        Self { address, host: host.unwrap_or(HeaderValue::from_static("localhost")) }
    }
}

/// Why there is no answer, in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// Nobody listens, or the connection was refused.
    #[error("no connection")]
    Connect,
    /// The answer was not there in time. The request may have had its effect.
    #[error("no answer in time")]
    Timeout,
    /// The server closed the connection before the whole answer was there. The request may have had its effect.
    #[error("connection closed")]
    Closed,
    /// The request cannot be written as HTTP.
    #[error("not a request")]
    Request,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// All its headers.
    pub headers: HeaderMap,
    /// Its body, to the end.
    pub body: Bytes,
}

impl Response {
    /// What `Retry-After` says, if it names seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// A connection that is kept. It is opened by the first request, and again by the first one after a failure or after the server closed it.
#[derive(Debug)]
pub struct Connection {
    origin: Origin,
    timeout: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

impl Connection {
    /// A connection to `origin`, not yet opened. A request ends after `timeout`, connecting included.
    pub fn new(origin: impl Into<Origin>, timeout: Duration) -> Self {
        Self { origin: origin.into(), timeout, open: None }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// There is no whole answer. An answer that says no, such as 404 or 503, is an answer.
    pub async fn get(&mut self, path: &str) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        self.send(request).await
    }

    /// `POST path` with a body that is JSON already.
    ///
    /// # Errors
    /// There is no whole answer. An answer that says no, such as 404 or 503, is an answer.
    pub async fn post_json(
        &mut self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Response, Failure> {
        let mut request = self.request(Method::POST, path, body)?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let request = Request::builder().method(method).uri(path).header(HOST, &self.origin.host);
        request.body(Full::new(body)).map_err(|_invalid| Failure::Request)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        let exchange = async {
            // Taken out meanwhile: what ends early, also by a timeout, leaves a connection in an unknown state, which is dropped.
            let mut open = match self.open.take().and_then(Open::still) {
                Some(open) => open,
                None => Open::connect(self.origin.address).await?,
            };
            let response = open.exchange(request).await?;
            self.open = Some(open);
            Ok(response)
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Failure::Timeout))
    }
}

impl Open {
    async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(|_refused| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_gone| Failure::Connect)?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_gone| Failure::Connect)?;
        Ok(Self { sender, driver })
    }

    /// The connection, unless the server has closed it since the last request: nobody has looked at it in between.
    fn still(mut self) -> Option<Self> {
        let ended = (&mut self.driver).now_or_never().is_some();
        (!ended && !self.sender.is_closed()).then_some(self)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        let Self { sender, driver } = self;
        let answer = async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response { status: head.status, headers: head.headers, body })
        };
        tokio::pin!(answer);
        tokio::select! {
            // The connection first: what it has read is what the answer waits for. Its end may come together with the last bytes of an answer,
            // which then waits complete.
            biased;
            _ended = driver => answer.await,
            answer = &mut answer => answer,
        }
        .map_err(|_broken| Failure::Closed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

    /// A server that answers the requests of each connection with these bytes, one after the other, and then closes it. Returns what it was asked.
    async fn server(answers: Vec<Vec<&'static [u8]>>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for connection in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in connection {
                    let mut buffer = vec![0; 4096];
                    let read = stream.read(&mut buffer).await.unwrap();
                    asked.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                    stream.write_all(answer).await.unwrap();
                }
            }
            asked
        });
        (address, asked)
    }

    fn connection(address: SocketAddr) -> Connection {
        Connection::new(address, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_one_connection_and_carry_their_body_and_headers() {
        let (address, asked) = server(vec![vec![HELLO, HELLO]]).await;
        let mut connection = connection(address);
        assert_eq!(connection.get("/api/product/1").await.unwrap().body, "hello");
        let key = (HeaderName::from_static("idempotency-key"), HeaderValue::from_static("k1"));
        let body = Bytes::from_static(br#"{"a":1}"#);
        let answer = connection.post_json("/api/order", &[key], body).await.unwrap();
        assert_eq!((answer.status, answer.retry_after()), (StatusCode::OK, None));
        let asked = asked.await.unwrap();
        assert!(asked[0].starts_with("GET /api/product/1 HTTP/1.1\r\n"), "{asked:?}");
        assert!(asked[0].contains(&format!("host: {address}\r\n")), "{asked:?}");
        assert!(asked[1].contains("idempotency-key: k1\r\n") && asked[1].ends_with("{\"a\":1}"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_opened_again() {
        let (address, asked) = server(vec![vec![HELLO], vec![HELLO]]).await;
        let mut connection = connection(address);
        connection.get("/").await.unwrap();
        // Whether its end was already seen or meets the next request is the network's choice; a second one finds a new connection.
        if let Err(failure) = connection.get("/").await {
            assert_eq!(failure, Failure::Closed);
            connection.get("/").await.unwrap();
        }
        assert_eq!(asked.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn an_overloaded_server_is_an_answer_with_the_time_it_asks_for() {
        let busy = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
        let (address, _asked) = server(vec![vec![busy]]).await;
        let answer = connection(address).get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.retry_after()), (503, Some(Duration::from_secs(2))));
    }

    #[tokio::test]
    async fn half_an_answer_is_a_failure() {
        let (address, _asked) = server(vec![vec![b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhel"]]).await;
        assert_eq!(connection(address).get("/").await.unwrap_err(), Failure::Closed);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_costs_the_timeout_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connection = Connection::new(listener.local_addr().unwrap(), Duration::from_millis(50));
        let began = Instant::now();
        assert_eq!(connection.get("/").await.unwrap_err(), Failure::Timeout);
        assert!(began.elapsed() >= Duration::from_millis(50));
        drop(listener);
        assert_eq!(connection.get("/").await.unwrap_err(), Failure::Connect);
    }

    #[tokio::test]
    async fn only_the_address_of_a_shop_is_taken_for_one() {
        for wrong in ["", "localhost:1", "https://localhost:1", "http://", "http://localhost:1/api"] {
            assert!(Origin::resolve(wrong).await.is_err(), "{wrong}");
        }
        assert!(Origin::resolve("http://127.0.0.1:5001/").await.is_ok());
    }
}

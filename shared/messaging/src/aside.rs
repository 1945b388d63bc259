//! Clients of librdkafka are torn down aside.

use std::ops::Deref;
use std::thread;

/// Drops what it holds on a thread of its own. librdkafka waits there for its threads, a tenth of a second and more; everything that is awaited
/// beside it, with its time-outs, would stand still for as long.
#[derive(Debug)]
pub(crate) struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub(crate) fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    #[expect(clippy::expect_used, reason = "it is taken in drop and nowhere else")]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is not dropped yet")
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        // Without a thread it is dropped here.
        thread::Builder::new().name("kafka-drop".to_owned()).spawn(move || drop(client)).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;

    /// Says on which thread it was dropped.
    struct Client(mpsc::Sender<ThreadId>);

    impl Drop for Client {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn nobody_waits_for_a_client_to_be_torn_down() {
        let (sender, dropped) = mpsc::channel();
        drop(Aside::new(Client(sender)));
        assert_ne!(dropped.recv().unwrap(), thread::current().id());
    }
}

//! A connection whose client must take what it is sent: one that does not for too long is closed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::base::Clock;
use crate::base::clock::{Duration, Park, later};

/// A connection with a limit to how long a write may wait for its client.
pub(super) struct Stall<S> {
    inner: S,
    clock: Clock,
    limit: Duration,
    /// Set while a write waits.
    patience: Option<Pin<Box<Park>>>,
}

impl<S> Stall<S> {
    pub(super) fn new(inner: S, clock: Clock, limit: Duration) -> Stall<S> {
        Stall { inner, clock, limit, patience: None }
    }

    fn watched<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.patience = None;
            return write;
        }
        let (clock, limit) = (&self.clock, self.limit);
        let patience = self.patience.get_or_insert_with(|| Box::pin(clock.park(Some(later(clock.now(), limit)))));
        match std::future::Future::poll(patience.as_mut(), cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take what it is sent"))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watched(cx, write)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.inner).poll_flush(cx);
        self.watched(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watched(cx, shutdown)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(64);
            let mut stall = Stall::new(near, Clock::real(), Duration::from_millis(60));
            let data = vec![7; 640];
            let slow = async {
                let mut read = vec![0; 640];
                far.read_exact(&mut read).await.unwrap();
                far
            };
            let (written, far) = tokio::join!(stall.write_all(&data), slow);
            written.unwrap();
            let error = stall.write_all(&data).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(far);
        });
    }
}

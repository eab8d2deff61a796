//! Remembers how a connection ended: HTTP engines wrap the errors of their stream in their own, or swallow them.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use lapwing_core::observation::Fault;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Moment, closed, fault_of};

/// How the connection ended, shared with its [`Watched`] stream.
#[derive(Clone, Default)]
pub(crate) struct End(Arc<Mutex<Option<Fault>>>);

impl End {
    /// The first thing that ended the connection, if it has ended.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.held().clone()
    }

    fn note(&self, fault: impl FnOnce() -> Fault) {
        self.held().get_or_insert_with(fault);
    }

    fn held(&self) -> MutexGuard<'_, Option<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose end is noted.
pub(crate) struct Watched<S> {
    stream: S,
    end: End,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> (Self, End) {
        let end = End::default();
        (
            Self {
                stream,
                end: end.clone(),
            },
            end,
        )
    }

    fn noted<T>(&self, result: io::Result<T>) -> Poll<io::Result<T>> {
        if let Err(error) = &result {
            self.end.note(|| fault_of(error, Moment::Later));
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if result.is_ok() && buf.filled().len() == before && buf.remaining() > 0 {
            self.end.note(closed);
        }
        self.noted(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, data));
        self.noted(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.noted(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, data));
        self.noted(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

//! Remembers how a connection ended: HTTP engines wrap the errors of their stream in their own, or swallow them.
//! Ends it when too much comes before the head of the answer: engines read interim answers for as long as they come.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use lapwing_core::observation::Fault;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Moment, closed, fault_of};

/// How the connection ended, shared with its [`Watched`] stream.
#[derive(Clone, Default)]
pub(crate) struct End(Arc<Known>);

#[derive(Default)]
struct Known {
    fault: Mutex<Option<Fault>>,
    head_came: AtomicBool,
}

impl End {
    /// The first thing that ended the connection, if it has ended.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.held().clone()
    }

    /// The head of the answer is complete; what comes from now on is counted elsewhere.
    pub(crate) fn head_came(&self) {
        self.0.head_came.store(true, Ordering::Relaxed);
    }

    /// What ended the connection, unless something else did before.
    pub(crate) fn note(&self, fault: impl FnOnce() -> Fault) {
        self.held().get_or_insert_with(fault);
    }

    fn held(&self) -> MutexGuard<'_, Option<Fault>> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose end is noted.
pub(crate) struct Watched<S> {
    stream: S,
    end: End,
    /// Most bytes that may come before the head is complete.
    most: usize,
    /// Bytes that came.
    came: usize,
}

impl<S> Watched<S> {
    /// Once more than `most` bytes have come before [`End::head_came`], the connection ends with `http.malformed`.
    pub(crate) fn new(stream: S, most: usize) -> (Self, End) {
        let end = End::default();
        (
            Self {
                stream,
                end: end.clone(),
                most,
                came: 0,
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

fn too_much(most: usize) -> Fault {
    let most = most >> 10;
    Fault::target(
        "http.malformed",
        format!("more than {most} KiB came before the answer's head"),
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.came > self.most && !self.end.0.head_came.load(Ordering::Relaxed) {
            self.end.note(|| too_much(self.most));
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let came = buf.filled().len() - before;
        if result.is_ok() && came == 0 && buf.remaining() > 0 {
            self.end.note(closed);
        }
        self.came = self.came.saturating_add(came);
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

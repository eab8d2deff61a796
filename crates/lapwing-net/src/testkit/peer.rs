//! Peers that follow a script, byte by byte.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running peer; it ends when it is dropped.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Does `script` with each connection; it is told how many came before.
    pub(crate) async fn start<F>(script: impl Fn(TcpStream, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on("127.0.0.1:0", script).await
    }

    pub(crate) async fn on<F>(
        local: &str,
        script: impl Fn(TcpStream, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(local).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut before = 0;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(stream, before));
                before += 1;
            }
        });
        Self { addr, task }
    }
}

/// Reads up to the empty line that ends a head.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Ends the connection with a reset instead of in order.
#[expect(clippy::needless_pass_by_value, reason = "it ends the stream")]
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
}

/// Reads until the other side is gone.
pub(crate) async fn gone(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
}

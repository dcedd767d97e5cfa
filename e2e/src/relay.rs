//! A link that can be cut: a relay of TCP between an agent and its hub.
//!
//! Start at [`Relay::start`]. Cutting ends every connection and refuses new ones, as a cable that
//! is pulled and a firewall do together; whoever is on either side goes on running.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A running relay; dropping it cuts the link for good.
pub struct Relay {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    link: Arc<Link>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Link {
    cut: AtomicBool,
    changed: Notify,
    carried: AtomicU64,
}

impl Relay {
    /// Relays a free port to a port, both on 127.0.0.1.
    pub async fn start(to: u16) -> Result<Relay> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let link = Arc::new(Link::default());
        let shared = Arc::clone(&link);
        let task = tokio::task::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if !shared.cut.load(Ordering::SeqCst) {
                    tokio::task::spawn(carry(near, to, Arc::clone(&shared)));
                }
            }
        });
        Ok(Relay { port, link, task })
    }

    /// Cuts the link, or mends it.
    pub fn cut(&self, cut: bool) {
        self.link.cut.store(cut, Ordering::SeqCst);
        self.link.changed.notify_waiters();
    }

    /// Bytes that went over it so far, in both directions, encryption included.
    pub fn carried(&self) -> u64 {
        self.link.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut(true);
        self.task.abort();
    }
}

async fn carry(near: TcpStream, to: u16, link: Arc<Link>) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    let count = |stream| Counted {
        stream,
        link: Arc::clone(&link),
    };
    let (mut near, mut far) = (count(near), count(far));
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        () = link.changed.notified() => {}
    }
}

/// One end of a connection; what is read from it is counted.
struct Counted {
    stream: TcpStream,
    link: Arc<Link>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = (buffer.filled().len() - before) as u64;
        self.link.carried.fetch_add(read, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

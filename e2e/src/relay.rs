//! A link that can be cut: a relay of TCP between an agent and its hub.
//!
//! Start at [`Relay::start`]. Cutting ends every connection and refuses new ones, as a cable that
//! is pulled and a firewall do together; whoever is on either side goes on running.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
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
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut(true);
        self.task.abort();
    }
}

async fn carry(mut near: TcpStream, to: u16, link: Arc<Link>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        () = link.changed.notified() => {}
    }
}

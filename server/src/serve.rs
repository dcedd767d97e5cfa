//! The listener: sockets, TLS and HTTP around the one `Service`.
//!
//! Start at [`Listener::run`]. This is the thin shell that simulation leaves out (it calls the
//! service directly), so it may name tokio and hyper. Every number that hyper would otherwise
//! choose for us is set in [`limits`], with its reason. The invariant: nothing here judges a
//! request (it only lets long work go on elsewhere: `moving.rs`); what the handshake learned (peer
//! address, client certificates) goes to the service as
//! it is. Stopping has an order: `/readyz` turns 500, requests go on for the delay that was asked
//! for, then no more connections are taken, watches end, GOAWAY goes out, and what is in flight
//! may finish.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hanse_api::{ConnInfo, LongWork, Service};
use hanse_seams::{Seams, Shutdown, Spawner};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::connections::{Connections, Place};
use crate::moving::Moving;

/// What hyper and we allow a connection.
mod limits {
    use std::time::Duration;

    /// Streams of one HTTP/2 connection. client-go opens a further connection beyond that.
    pub const STREAMS_MAX: u32 = 250;
    /// Upload window of one stream.
    pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
    /// Upload window of one connection: some streams at full speed, not all of them.
    pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
    /// Bytes of answers that wait in one stream; hyper's 400 KB times a thousand stalled watches
    /// would be 400 MB.
    pub const SEND_BUFFER_BYTES: usize = 64 * 1024;
    /// Bytes of a request's headers (HTTP-04).
    pub const HEADER_BYTES_MAX: u32 = 1024 * 1024;
    /// Read buffer of an HTTP/1 connection: also bounds its headers.
    pub const HTTP1_BUFFER_BYTES_MAX: usize = 1024 * 1024;
    /// Time for the headers of an HTTP/1 request (HTTP-06).
    pub const HEADER_TIME_MAX: Duration = Duration::from_secs(32);
    /// A ping this often finds dead peers, and how long its answer may take.
    pub const PING_PERIOD: Duration = Duration::from_secs(30);
    /// See [`PING_PERIOD`].
    pub const PING_TIME_MAX: Duration = Duration::from_secs(15);
    /// Unanswered probes after which a peer is dead.
    pub const PROBES_MAX: u32 = 3;
    /// How long bytes may lie in the kernel without the peer's machine acknowledging them.
    pub const UNTAKEN_TIME_MILLIS_MAX: u32 = 90_000;
    /// Streams that a client may open and reset without waiting (rapid reset).
    pub const RESET_STREAMS_MAX: usize = 50;
    /// Time for a TLS handshake.
    pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
    /// Pause after accept failed (no file descriptors left): trying at once would only burn CPU.
    pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
    /// Time for requests in flight to finish on termination.
    pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
}

/// Connections at once, unless `--max-connections` says otherwise.
pub const CONNECTIONS_MAX: usize = 10_000;

/// A bound socket with everything that a connection needs.
pub struct Listener {
    socket: TcpListener,
    tls: TlsAcceptor,
    service: Service,
    seams: Seams,
    builder: auto::Builder<TokioExecutor>,
    connections: Connections,
    /// Where long work is done.
    pool: Arc<dyn Spawner>,
}

/// Binds the socket: as early as possible, so that a taken port is known before anything is made.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

impl Listener {
    /// Puts a listener together; nothing is accepted before [`Listener::run`].
    pub fn new(
        socket: TcpListener,
        tls: rustls::ServerConfig,
        service: Service,
        seams: Seams,
        connections: Connections,
        pool: Arc<dyn Spawner>,
    ) -> Self {
        let tls = TlsAcceptor::from(Arc::new(tls));
        Self {
            socket,
            tls,
            service,
            seams,
            builder: http_builder(),
            connections,
            pool,
        }
    }

    /// Serves until `stop` is raised, then stops in order, `delay` after having said so.
    pub async fn run(self, stop: Shutdown, delay: Duration) {
        let graceful = GracefulShutdown::new();
        let accepting = async {
            loop {
                // Without room the next one waits in the kernel's queue, which is bounded too.
                if !self.service.has_memory() {
                    self.connections.make_room();
                    self.seams.clock.sleep(limits::ACCEPT_PAUSE).await;
                    continue;
                }
                let Some(place) = self.connections.place().await else {
                    return;
                };
                match self.socket.accept().await {
                    Ok((stream, peer)) => self.spawn_connection(stream, peer, &graceful, place),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        self.seams.clock.sleep(limits::ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let said = async {
            stop.wait().await;
            self.service.say_stopping();
            self.seams.clock.sleep(delay).await;
        };
        tokio::select! {
            biased;
            () = said => {}
            () = accepting => {}
        }
        drop(self.socket);
        self.service.end_watches();
        let drained = self
            .seams
            .timeout(limits::DRAIN_TIME_MAX, graceful.shutdown())
            .await;
        if drained.is_none() {
            tracing::warn!("requests in flight did not finish in time");
        }
    }

    fn spawn_connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        graceful: &GracefulShutdown,
        place: Place,
    ) {
        let (tls, service, seams) = (self.tls.clone(), self.service.clone(), self.seams.clone());
        let (builder, watcher) = (self.builder.clone(), graceful.watcher());
        let (place, pool) = (Arc::new(place), Arc::clone(&self.pool));
        let give_way = place.give_way();
        let connection = async move {
            let _ = stream.set_nodelay(true);
            notice_dead_peer(&stream);
            let handshake = seams
                .timeout(limits::HANDSHAKE_TIME_MAX, tls.accept(stream))
                .await;
            let stream = match handshake {
                Some(Ok(stream)) => stream,
                failed => {
                    service.metrics().tls_handshake_error();
                    if let Some(Err(error)) = failed {
                        tracing::debug!(%peer, %error, "TLS handshake failed");
                    }
                    return;
                }
            };
            let certs = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
            let conn = Arc::new(ConnInfo::new(peer, certs));
            let answer = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let (service, conn) = (service.clone(), Arc::clone(&conn));
                let (long, busy) = (LongWork::default(), place.request());
                let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                request.extensions_mut().insert(long.clone());
                let work = Box::pin(async move { service.handle(request, &conn).await });
                let work = Moving::new(work, long, Arc::clone(&pool));
                async move {
                    let mut answer = work.await;
                    answer.body_mut().at_end(move || drop(busy));
                    Ok::<_, Infallible>(answer)
                }
            });
            let serving = builder
                .serve_connection(TokioIo::new(stream), answer)
                .into_owned();
            if let Err(error) = watcher.watch(serving).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        };
        let connection = async move {
            tokio::select! {
                biased;
                () = connection => {}
                () = give_way.wait() => tracing::debug!(%peer, "an idle connection gave way"),
            }
        };
        self.seams.spawn("connection", connection);
    }
}

/// Lets the kernel end a connection whose other end is gone without a word, or takes nothing.
/// HTTP/2 pings do so too; HTTP/1 has none.
fn notice_dead_peer(stream: &TcpStream) {
    let probes = [
        sockopt::set_socket_keepalive(stream, true),
        sockopt::set_tcp_keepidle(stream, limits::PING_PERIOD),
        sockopt::set_tcp_keepintvl(stream, limits::PING_TIME_MAX),
        sockopt::set_tcp_keepcnt(stream, limits::PROBES_MAX),
        sockopt::set_tcp_user_timeout(stream, limits::UNTAKEN_TIME_MILLIS_MAX),
    ];
    if let Some(error) = probes.into_iter().find_map(Result::err) {
        tracing::debug!(%error, "a connection is not probed");
    }
}

/// HTTP/1.1 and HTTP/2 with every number set.
fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIME_MAX)
        .max_buf_size(limits::HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::SEND_BUFFER_BYTES)
        .max_header_list_size(limits::HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(limits::RESET_STREAMS_MAX)
        .keep_alive_interval(limits::PING_PERIOD)
        .keep_alive_timeout(limits::PING_TIME_MAX);
    builder
}

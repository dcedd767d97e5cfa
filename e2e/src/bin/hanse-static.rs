//! The ceiling: a server of the same hyper and rustls as the hub's, in the same settings, which
//! answers bytes from memory and checks nothing. What it costs is what no server on this machine
//! can do without.
//!
//! `hanse-static DIRECTORY PORT`: the directory holds `server.crt`, `server.key` and
//! `answers.json` ([`Answers`]), which `cargo xtask bench` writes. Of a request only the method
//! and the end of the path count. A PATCH sends one event to every open watch.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};

use anyhow::{Context, Result};
use bytes::Bytes;
use hanse_e2e::bench::subject::{Answers, MARK, change_of};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

// The hub's allocator, so that the difference is the hub's work and nothing else.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The hub's numbers for an HTTP/2 connection.
const STREAMS_MAX: u32 = 250;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_BUFFER_BYTES: usize = 64 * 1024;

type Answer = Either<Full<Bytes>, Watch>;

/// The answers as they are sent.
struct Fixed {
    object: Bytes,
    list: Bytes,
    created: Bytes,
    updated: Bytes,
    deleted: Bytes,
    /// The event before and after the number of its change.
    event: (String, String),
    watches: Mutex<Vec<UnboundedSender<Bytes>>>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(dir), Some(port)) = (words.next(), words.next()) else {
        anyhow::bail!("hanse-static DIRECTORY PORT");
    };
    let fixed = Arc::new(read(Path::new(&dir))?);
    let tls = acceptor(Path::new(&dir))?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, tls.clone(), fixed.clone()));
    }
}

fn read(dir: &Path) -> Result<Fixed> {
    let answers: Answers = serde_json::from_slice(&std::fs::read(dir.join("answers.json"))?)?;
    let (head, rest) = answers
        .event
        .split_once(MARK.0)
        .context("an event without a mark")?;
    let (_, tail) = rest
        .split_once(MARK.1)
        .context("an event with half a mark")?;
    Ok(Fixed {
        object: answers.object.into(),
        list: answers.list.into(),
        created: answers.created.into(),
        updated: answers.updated.into(),
        deleted: answers.deleted.into(),
        event: (format!("{head}{}", MARK.0), format!("{}{tail}", MARK.1)),
        watches: Mutex::default(),
    })
}

fn acceptor(dir: &Path) -> Result<TlsAcceptor> {
    let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, fixed: Arc<Fixed>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let answer = hyper::service::service_fn(move |request| answer(request, fixed.clone()));
    // The generator closes connections when it is done with them; that is no error.
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(request: Request<Incoming>, fixed: Arc<Fixed>) -> Result<Response<Answer>> {
    let method = request.method().clone();
    let collection = !request.uri().path().contains("/configmaps/");
    if request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch="))
    {
        let (sender, receiver) = unbounded_channel();
        if let Ok(mut watches) = fixed.watches.lock() {
            watches.push(sender);
        }
        return Ok(respond(StatusCode::OK, Either::Right(Watch(receiver))));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let (status, bytes) = match method {
        Method::POST => (StatusCode::CREATED, &fixed.created),
        Method::PUT => (StatusCode::OK, &fixed.updated),
        Method::DELETE => (StatusCode::OK, &fixed.deleted),
        Method::PATCH => {
            tell(&fixed, change_of(&body).unwrap_or_default());
            (StatusCode::OK, &fixed.updated)
        }
        _ if collection => (StatusCode::OK, &fixed.list),
        _ => (StatusCode::OK, &fixed.object),
    };
    Ok(respond(status, Either::Left(Full::new(bytes.clone()))))
}

fn respond(status: StatusCode, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Sends the event of a change to every open watch: the same bytes, made once.
fn tell(fixed: &Fixed, change: usize) {
    let (head, tail) = &fixed.event;
    let event = Bytes::from(format!("{head}{change}{tail}"));
    if let Ok(mut watches) = fixed.watches.lock() {
        watches.retain(|watch| watch.send(event.clone()).is_ok());
    }
}

/// The body of a watch: whatever is sent to it, until the client goes.
struct Watch(UnboundedReceiver<Bytes>);

impl Body for Watch {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(context);
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

//! Requests over the network: one HTTP/2 connection that is made when it is needed, or a few
//! HTTP/1.1 ones where a server speaks nothing newer.
//!
//! Start at [`Http::new`]. Invariant: a request is sent at most once, unless the connection
//! refused to take it; a silent line is found out by pings, so a watch over a dead link ends.
//! [`Http::replace`] swaps the credentials: new requests use a new connection, running watches
//! end with the old one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use hanse_seams::Seams;

use crate::api::{Api, Pieces, Reply, Transport};
use crate::config::Config;
use crate::error::{Error, Refusal, Result};
use crate::limits::{
    ANSWER, BODY_BYTES_MAX, CONNECT, IDLE_CONNECTIONS, KEEP_ALIVE, KEEP_ALIVE_ANSWER,
    TOKEN_FILE_AGE,
};
use crate::request::Request;

/// A server over the network.
pub struct Http {
    seams: Seams,
    state: Mutex<State>,
}

struct State {
    site: Arc<Endpoint>,
    newer: Option<http2::SendRequest<Full<Bytes>>>,
    older: Vec<http1::SendRequest<Full<Bytes>>>,
    token: Option<(Duration, String)>,
}

struct Endpoint {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
    authority: String,
    host: String,
    port: u16,
    path: String,
}

enum Connection {
    Newer(http2::SendRequest<Full<Bytes>>),
    Older(http1::SendRequest<Full<Bytes>>),
}

impl Http {
    /// A client for the server of a configuration; connects when the first request comes.
    ///
    /// # Errors
    /// [`Error::Config`] when URL, certificates or keys cannot be used.
    pub fn new(config: Config, seams: Seams) -> Result<Arc<Self>> {
        let site = Arc::new(endpoint(config)?);
        let state = State {
            site,
            newer: None,
            older: Vec::new(),
            token: None,
        };
        Ok(Arc::new(Self {
            seams,
            state: Mutex::new(state),
        }))
    }

    /// The same as a handle on the API.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn api(config: Config, seams: Seams) -> Result<Api> {
        Ok(Api::new(Self::new(config, seams)?))
    }

    /// Goes on with other credentials, or another server.
    ///
    /// # Errors
    /// As [`Http::new`]; then nothing changes.
    pub fn replace(&self, config: Config) -> Result<()> {
        let site = Arc::new(endpoint(config)?);
        let mut state = self.state.lock();
        *state = State {
            site,
            newer: None,
            older: Vec::new(),
            token: None,
        };
        Ok(())
    }

    async fn connection(&self) -> Result<(Arc<Endpoint>, Connection, bool)> {
        let site = {
            let mut state = self.state.lock();
            let site = Arc::clone(&state.site);
            if let Some(newer) = state.newer.as_ref().filter(|c| !c.is_closed()) {
                return Ok((site, Connection::Newer(newer.clone()), true));
            }
            while let Some(older) = state.older.pop() {
                if older.is_ready() && !older.is_closed() {
                    return Ok((site, Connection::Older(older), true));
                }
            }
            site
        };
        let made = self
            .seams
            .timeout(CONNECT, self.connect(&site))
            .await
            .unwrap_or_else(|| Err(Error::Unreachable(format!("{}: timed out", site.authority))))?;
        let mut state = self.state.lock();
        // Credentials may have been replaced while this connection was made.
        if let Connection::Newer(newer) = &made
            && Arc::ptr_eq(&state.site, &site)
        {
            state.newer = Some(newer.clone());
        }
        Ok((site, made, false))
    }

    async fn connect(&self, site: &Endpoint) -> Result<Connection> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::Unreachable(format!("cannot connect to {}: {e}", site.authority))
        };
        let tcp = TcpStream::connect((site.host.as_str(), site.port))
            .await
            .map_err(|e| failed(&e))?;
        tcp.set_nodelay(true).map_err(|e| failed(&e))?;
        let Some(tls) = &site.tls else {
            return self.older(tcp, site).await;
        };
        let name = site
            .config
            .server_name
            .as_deref()
            .unwrap_or(&site.host)
            .to_owned();
        let name = ServerName::try_from(name).map_err(|e| Error::Config(e.to_string()))?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .map_err(|e| failed(&e))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.newer(stream, site).await
        } else {
            self.older(stream, site).await
        }
    }

    async fn newer<S>(&self, stream: S, site: &Endpoint) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, driver) = http2::Builder::new(Executor(self.seams.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(2 << 20)
            .max_send_buf_size(256 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Error::Unreachable(format!("{}: {e}", site.authority)))?;
        self.seams.spawn("client-h2", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Connection::Newer(sender))
    }

    async fn older<S>(&self, stream: S, site: &Endpoint) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Error::Unreachable(format!("{}: {e}", site.authority)))?;
        self.seams.spawn("client-h1", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Connection::Older(sender))
    }

    fn token(&self, site: &Endpoint) -> Result<Option<String>> {
        if let Some(token) = &site.config.token {
            return Ok(Some(token.clone()));
        }
        let Some(file) = &site.config.token_file else {
            return Ok(None);
        };
        let now = self.seams.clock.monotonic();
        let mut state = self.state.lock();
        if let Some((read, token)) = &state.token
            && now.saturating_sub(*read) < TOKEN_FILE_AGE
        {
            return Ok(Some(token.clone()));
        }
        let text = std::fs::read_to_string(file)
            .map_err(|e| Error::Config(format!("{}: {e}", file.display())))?;
        let token = text.trim().to_owned();
        state.token = Some((now, token.clone()));
        Ok(Some(token))
    }

    /// Sends a request; a connection that was already there and turns out closed is replaced once.
    async fn exchange(&self, request: &Request) -> Result<http::Response<Incoming>> {
        loop {
            let (site, connection, reused) = self.connection().await?;
            let message = self.message(&site, &connection, request)?;
            let (answer, back) = match connection {
                Connection::Newer(mut sender) => (sender.send_request(message).await, None),
                Connection::Older(mut sender) => {
                    let answer = sender.send_request(message).await;
                    (answer, Some(sender))
                }
            };
            match answer {
                Ok(answer) => {
                    if let Some(sender) = back {
                        self.keep(&site, sender);
                    }
                    return Ok(answer);
                }
                Err(error) if reused && error.is_canceled() => self.forget(),
                Err(error) => {
                    self.forget();
                    return Err(Error::Unreachable(format!("{}: {error}", site.authority)));
                }
            }
        }
    }

    /// A connection is offered again; it is only used once its answer has been read.
    fn keep(&self, site: &Arc<Endpoint>, sender: http1::SendRequest<Full<Bytes>>) {
        let mut state = self.state.lock();
        if Arc::ptr_eq(&state.site, site) && state.older.len() < IDLE_CONNECTIONS {
            state.older.push(sender);
        }
    }

    fn forget(&self) {
        let mut state = self.state.lock();
        if state
            .newer
            .as_ref()
            .is_some_and(http2::SendRequest::is_closed)
        {
            state.newer = None;
        }
    }

    fn message(
        &self,
        site: &Endpoint,
        connection: &Connection,
        request: &Request,
    ) -> Result<http::Request<Full<Bytes>>> {
        let target = format!("{}{}", site.path, request.target());
        let mut builder = http::Request::builder()
            .method(request.method.clone())
            .header(header::ACCEPT, request.accept)
            .header(
                header::USER_AGENT,
                concat!("hanse/", env!("CARGO_PKG_VERSION")),
            );
        builder = match connection {
            Connection::Newer(_) => {
                let scheme = if site.tls.is_some() { "https" } else { "http" };
                builder.uri(format!("{scheme}://{}{target}", site.authority))
            }
            Connection::Older(_) => builder.uri(target).header(header::HOST, &site.authority),
        };
        if !request.body.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, request.content_type);
        }
        if let Some(token) = self.token(site)? {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        builder
            .body(Full::new(request.body.clone()))
            .map_err(|e| Error::Config(format!("request: {e}")))
    }

    async fn answer(&self, request: &Request) -> Result<http::Response<Incoming>> {
        let answer = self
            .seams
            .timeout(ANSWER, self.exchange(request))
            .await
            .unwrap_or_else(|| Err(Error::Unreachable("no answer in time".into())))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status().as_u16();
        let after = answer.headers().get(header::RETRY_AFTER);
        let after = after
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        let body = self.whole(answer.into_body()).await?;
        Err(Error::Refused(Box::new(Refusal::new(
            code,
            after.map(Duration::from_secs),
            body,
        ))))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes> {
        let read = Limited::new(body, BODY_BYTES_MAX).collect();
        match self.seams.timeout(ANSWER, read).await {
            Some(Ok(all)) => Ok(all.to_bytes()),
            Some(Err(error)) => Err(Error::Unreachable(format!("reading the answer: {error}"))),
            None => Err(Error::Unreachable("the answer stopped coming".into())),
        }
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> Reply<'_, Result<Bytes>> {
        Box::pin(async move {
            let answer = self.answer(&request).await?;
            self.whole(answer.into_body()).await
        })
    }

    fn open(&self, request: Request) -> Reply<'_, Result<Box<dyn Pieces>>> {
        Box::pin(async move {
            let answer = self.answer(&request).await?;
            Ok(Box::new(Body(answer.into_body())) as Box<dyn Pieces>)
        })
    }
}

struct Body(Incoming);

impl Pieces for Body {
    fn next(&mut self) -> Reply<'_, Option<Result<Bytes>>> {
        Box::pin(async move {
            loop {
                match self.0.frame().await? {
                    Ok(frame) => {
                        if let Ok(data) = frame.into_data() {
                            return Some(Ok(data));
                        }
                    }
                    Err(error) => return Some(Err(Error::Unreachable(error.to_string()))),
                }
            }
        })
    }
}

/// Runs what hyper wants run through the seams.
#[derive(Clone)]
struct Executor(Seams);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("client-stream", future);
    }
}

fn endpoint(config: Config) -> Result<Endpoint> {
    let bad = |why: &str| Error::Config(format!("server {:?}: {why}", config.server));
    let uri: http::Uri = config.server.parse().map_err(|_| bad("not a URL"))?;
    let authority = uri.authority().ok_or_else(|| bad("no host"))?;
    let tls = match uri.scheme_str() {
        Some("https") => Some(crate::tls::client(&config)?),
        Some("http") => None,
        _ => return Err(bad("neither https nor http")),
    };
    let port = authority
        .port_u16()
        .unwrap_or(if tls.is_some() { 443 } else { 80 });
    Ok(Endpoint {
        host: authority.host().trim_matches(['[', ']']).to_owned(),
        authority: authority.as_str().to_owned(),
        path: uri.path().trim_end_matches('/').to_owned(),
        port,
        tls,
        config,
    })
}

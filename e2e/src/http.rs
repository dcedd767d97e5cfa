//! A small HTTP client over hyper and rustls: one connection, HTTP/2 or HTTP/1.1, nothing hidden.
//!
//! It is the tests' own, so that a fault in the product's client cannot hide a fault in the
//! server, and it is cheap, so that it can also generate load. Start at [`Client::connect`];
//! [`Client`] is cheap to clone and its clones share the connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::kubeconfig::Access;

/// How long a whole request may take; watches are read without a bound.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// The protocol to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2: many requests at once over the connection.
    H2,
    /// HTTP/1.1: one after the other.
    H1,
}

/// A connection to a server, opened again when it was lost.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    authority: String,
    prefix: String,
    host: String,
    tls: Option<tokio_rustls::TlsConnector>,
    protocol: Protocol,
    token: Option<HeaderValue>,
    sender: Mutex<Option<Sender>>,
}

enum Sender {
    H2(http2::SendRequest<Full<Bytes>>),
    H1(Arc<Mutex<http1::SendRequest<Full<Bytes>>>>),
}

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; as a JSON string where it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()))
    }

    /// The body as JSON, or an error with what was answered when the status is not 2xx.
    pub fn success(self) -> Result<Value> {
        if !self.status.is_success() {
            bail!("{}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(self.json())
    }
}

impl Client {
    /// A client over HTTP/2. Nothing is opened before the first request.
    pub fn connect(access: &Access) -> Result<Client> {
        Client::connect_with(access, Protocol::H2)
    }

    /// A client that speaks this protocol.
    pub fn connect_with(access: &Access, protocol: Protocol) -> Result<Client> {
        let uri: Uri = access
            .server
            .parse()
            .with_context(|| access.server.clone())?;
        let host = uri.host().context("a server without a host")?.to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let token = access
            .token
            .as_ref()
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        Ok(Client {
            inner: Arc::new(Inner {
                authority: format!("{host}:{port}"),
                prefix: uri.path().trim_end_matches('/').to_owned(),
                host,
                tls: secure.then(|| connector(access, protocol)).transpose()?,
                protocol,
                token: token.transpose()?,
                sender: Mutex::new(None),
            }),
        })
    }

    /// The path that stands before every request's, such as `/clusters/root`.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// A new HTTP/2 connection for a caller that makes its requests itself, as a generator of load
    /// does, and what stands before every path of theirs.
    pub async fn raw(&self) -> Result<(http2::SendRequest<Full<Bytes>>, String)> {
        let inner = &self.inner;
        let scheme = if inner.tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}{}", inner.authority, inner.prefix);
        match self.dial().await? {
            Sender::H2(sender) => Ok((sender, base)),
            Sender::H1(_) => bail!("{base}: this client speaks HTTP/1.1"),
        }
    }

    /// The bearer token that goes with every request, if there is one.
    pub fn token(&self) -> Option<&HeaderValue> {
        self.inner.token.as_ref()
    }

    /// A request with JSON in and JSON out.
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let content = body.map(|_| "application/json");
        let bytes = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        self.call(
            method,
            path,
            &[("accept", "application/json")],
            content,
            bytes.into(),
        )
        .await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.json(Method::GET, path, None).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.json(Method::DELETE, path, None).await
    }

    /// PATCH with this content type.
    pub async fn patch(&self, path: &str, content_type: &str, body: &Value) -> Result<Answer> {
        let bytes = serde_json::to_vec(body)?;
        let accept = [("accept", "application/json")];
        self.call(
            Method::PATCH,
            path,
            &accept,
            Some(content_type),
            bytes.into(),
        )
        .await
    }

    /// A request and its whole answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Answer> {
        let work = async {
            let response = self.open(method, path, headers, content_type, body).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        };
        tokio::time::timeout(REQUEST_TIME_MAX, work)
            .await
            .map_err(|_| anyhow!("{path}: no answer within {REQUEST_TIME_MAX:?}"))?
    }

    /// A request whose body the caller reads, for watches.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let request = self.request(method, path, headers, content_type, body)?;
        let inner = &self.inner;
        let mut slot = inner.sender.lock().await;
        let usable = match &*slot {
            Some(Sender::H2(sender)) => !sender.is_closed(),
            Some(Sender::H1(sender)) => sender.try_lock().is_ok_and(|sender| sender.is_ready()),
            None => false,
        };
        if !usable {
            *slot = Some(
                self.dial()
                    .await
                    .with_context(|| format!("dialling {}", inner.authority))?,
            );
        }
        match &*slot {
            Some(Sender::H2(sender)) => {
                let mut sender = sender.clone();
                drop(slot);
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
            Some(Sender::H1(sender)) => {
                let sender = sender.clone();
                drop(slot);
                let mut sender = sender.lock().await;
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
            None => bail!("no connection to {}", inner.authority),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>> {
        let inner = &self.inner;
        let (scheme, host) = (
            if inner.tls.is_some() { "https" } else { "http" },
            &inner.authority,
        );
        let uri = match inner.protocol {
            Protocol::H2 => format!("{scheme}://{host}{}{path}", inner.prefix),
            Protocol::H1 => format!("{}{path}", inner.prefix),
        };
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().with_context(|| format!("no path: {path}"))?;
        let map = request.headers_mut();
        if inner.protocol == Protocol::H1 {
            map.insert(http::header::HOST, HeaderValue::try_from(host)?);
        }
        if let Some(token) = &inner.token {
            map.insert(http::header::AUTHORIZATION, token.clone());
        }
        if let Some(content_type) = content_type {
            map.insert(
                http::header::CONTENT_TYPE,
                HeaderValue::try_from(content_type)?,
            );
        }
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
        }
        Ok(request)
    }

    async fn dial(&self) -> Result<Sender> {
        let inner = &self.inner;
        let stream = TcpStream::connect(&inner.authority).await?;
        stream.set_nodelay(true)?;
        match &inner.tls {
            Some(connector) => {
                let name = ServerName::try_from(inner.host.clone())?;
                handshake(connector.connect(name, stream).await?, inner.protocol).await
            }
            None => handshake(stream, inner.protocol).await,
        }
    }
}

async fn handshake<S>(stream: S, protocol: Protocol) -> Result<Sender>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::H2 => {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(16 << 20)
                .handshake(io)
                .await?;
            tokio::spawn(connection);
            Ok(Sender::H2(sender))
        }
        Protocol::H1 => {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(Sender::H1(Arc::new(Mutex::new(sender))))
        }
    }
}

/// TLS as this access and protocol want it.
pub fn connector(access: &Access, protocol: Protocol) -> Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(access.ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &access.client {
        Some((certificate, key)) => {
            let chain: Vec<CertificateDer<'static>> =
                CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        Protocol::H2 => vec![b"h2".to_vec()],
        Protocol::H1 => vec![b"http/1.1".to_vec()],
    };
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}

//! The generator's client: prepared headers, bytes in, a count of bytes out. It parses nothing, so
//! that it takes as little as it can from the processors that it shares with the server.
//!
//! Start at [`Wire::open`]; a [`Wire`] is one HTTP/2 connection and cheap to clone.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;

use crate::http::Client;
use crate::kubeconfig::Access;

/// One connection, and the headers of the requests over it.
#[derive(Clone)]
pub struct Wire {
    sender: SendRequest<Full<Bytes>>,
    base: Arc<str>,
    /// Of a request without a body, of one with JSON, and of one with a merge patch.
    headers: Arc<[HeaderMap; 3]>,
}

impl Wire {
    /// Opens a connection.
    pub async fn open(access: &Access) -> Result<Wire> {
        let client = Client::connect(access)?;
        let (sender, base) = client.raw().await?;
        let mut plain = HeaderMap::new();
        plain.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = client.token() {
            plain.insert(AUTHORIZATION, token.clone());
        }
        let with = |content_type: &'static str| {
            let mut headers = plain.clone();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers
        };
        let json = with("application/json");
        let patch = with("application/merge-patch+json");
        Ok(Wire {
            sender,
            base: base.into(),
            headers: Arc::new([plain, json, patch]),
        })
    }

    /// As many connections.
    pub async fn several(access: &Access, count: usize) -> Result<Arc<[Wire]>> {
        let mut wires = Vec::with_capacity(count);
        for _ in 0..count {
            wires.push(Wire::open(access).await?);
        }
        Ok(wires.into())
    }

    /// Sends a request, reads its whole answer and counts its bytes. An answer that is not a
    /// success is an error with its words.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<usize> {
        let request = self.request(method, path, body)?;
        read(path, self.answer(request).await?).await
    }

    /// GET with this `Accept-Encoding`; the bytes as they came over the wire.
    pub async fn encoded(&self, path: &str, encoding: &'static str) -> Result<usize> {
        let mut request = self.request(Method::GET, path, Bytes::new())?;
        let asked = HeaderValue::from_static(encoding);
        request.headers_mut().insert(ACCEPT_ENCODING, asked);
        let response = self.answer(request).await?;
        let encoded = response.headers().contains_key("content-encoding");
        if encoded != (encoding == "gzip") {
            bail!("{path}: asked for {encoding}: {:?}", response.headers());
        }
        read(path, response).await
    }

    /// A request whose answer the caller reads.
    pub async fn stream(&self, path: &str) -> Result<Incoming> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        let response = self.answer(request).await?;
        if !response.status().is_success() {
            bail!("{path}: {}", response.status());
        }
        Ok(response.into_body())
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>> {
        let mut sender = self.sender.clone();
        sender.ready().await.context("the connection was closed")?;
        Ok(sender.send_request(request).await?)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let kind = match method {
            Method::PATCH => 2,
            Method::POST | Method::PUT => 1,
            _ => 0,
        };
        let mut uri = String::with_capacity(self.base.len() + path.len());
        uri.push_str(&self.base);
        uri.push_str(path);
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = Uri::try_from(uri)?;
        *request.method_mut() = method;
        request.headers_mut().clone_from(&self.headers[kind]);
        Ok(request)
    }
}

/// The server said 429: it is asked for more than it takes.
#[derive(Debug)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

async fn read(path: &str, response: http::Response<Incoming>) -> Result<usize> {
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let words = body.collect().await?.to_bytes();
        let words = format!("{path}: {status}: {}", String::from_utf8_lossy(&words));
        if status == http::StatusCode::TOO_MANY_REQUESTS {
            return Err(Refused(words).into());
        }
        bail!(words);
    }
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(count)
}

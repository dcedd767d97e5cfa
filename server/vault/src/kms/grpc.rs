//! Calls of a plugin: gRPC over HTTP/2 over a socket of the file system.
//!
//! A unary call is one request with one message behind five bytes, and an answer of the same form
//! with its status in the trailers; hyper does the rest. One connection is kept and made again
//! when it is gone. The invariant: a call ends within the plugin's timeout, and no answer is larger
//! than its bound.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hanse_seams::Seams;
use http::{HeaderMap, Request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::kms::envelope::Source;
use crate::kms::proto::{Field, fields, put_bytes, text};
use crate::limits::KMS_ANSWER_BYTES;

const SERVICE: &str = "v2.KeyManagementService";
/// Bytes before a message: whether it is compressed, and its length.
const FRAME: usize = 5;

/// What a plugin says of itself.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) healthz: String,
    pub(crate) key_id: String,
}

/// A plugin's socket.
pub(crate) struct Channel {
    path: PathBuf,
    timeout: Duration,
    seams: Seams,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// Runs what hyper wants run through the seams.
#[derive(Clone)]
struct Executor(Seams);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        self.0.spawn("kms-stream", future);
    }
}

impl Channel {
    /// For an endpoint like `unix:///run/kms.sock`. Connects at the first call.
    pub(crate) fn new(endpoint: &str, timeout: Duration, seams: Seams) -> Self {
        let path = endpoint.strip_prefix("unix:").unwrap_or(endpoint);
        let path = path.strip_prefix("//").unwrap_or(path);
        Self {
            path: path.into(),
            timeout,
            seams,
            sender: Mutex::new(None),
        }
    }

    /// `Status`.
    pub(crate) async fn status(&self) -> Result<Status, String> {
        let answer = self.call("Status", Vec::new()).await?;
        let mut status = Status::default();
        for (field, content) in message(&answer)? {
            match (field, content) {
                (1, Field::Bytes(bytes)) => status.version = readable(bytes)?,
                (2, Field::Bytes(bytes)) => status.healthz = readable(bytes)?,
                (3, Field::Bytes(bytes)) => status.key_id = readable(bytes)?,
                _ => {}
            }
        }
        Ok(status)
    }

    /// `Encrypt`, of a seed.
    pub(crate) async fn encrypt(&self, seed: &[u8], uid: &str) -> Result<Source, String> {
        let mut request = Vec::new();
        put_bytes(1, seed, &mut request);
        put_bytes(2, uid.as_bytes(), &mut request);
        let answer = self.call("Encrypt", request).await?;
        let mut source = Source {
            derived: true,
            ..Source::default()
        };
        for (field, content) in message(&answer)? {
            match (field, content) {
                (1, Field::Bytes(bytes)) => source.ciphertext = bytes.to_vec(),
                (2, Field::Bytes(bytes)) => source.key_id = readable(bytes)?,
                (3, Field::Bytes(entry)) => {
                    source.take_note(entry).ok_or("a note is no message")?
                }
                _ => {}
            }
        }
        Ok(source)
    }

    /// `Decrypt`, of a seed.
    pub(crate) async fn decrypt(&self, source: &Source, uid: &str) -> Result<Vec<u8>, String> {
        let mut request = Vec::new();
        put_bytes(1, &source.ciphertext, &mut request);
        put_bytes(2, uid.as_bytes(), &mut request);
        put_bytes(3, source.key_id.as_bytes(), &mut request);
        source.put_notes(4, &mut request);
        let answer = self.call("Decrypt", request).await?;
        let plain = message(&answer)?.into_iter().find_map(|field| match field {
            (1, Field::Bytes(bytes)) => Some(bytes.to_vec()),
            _ => None,
        });
        Ok(plain.unwrap_or_default())
    }

    async fn call(&self, method: &str, message: Vec<u8>) -> Result<Bytes, String> {
        let answer = self
            .seams
            .timeout(self.timeout, self.exchange(method, message));
        match answer.await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(why)) => Err(why),
            None => {
                // Whatever hangs is not asked again.
                *self.sender.lock().await = None;
                Err(format!(
                    "rpc error: code = DeadlineExceeded desc = no answer within {:?}",
                    self.timeout
                ))
            }
        }
    }

    async fn exchange(&self, method: &str, message: Vec<u8>) -> Result<Bytes, String> {
        let length = u32::try_from(message.len()).map_err(|_| "a message too large")?;
        let mut frame = Vec::with_capacity(FRAME + message.len());
        frame.push(0);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&message);
        let request = Request::post(format!("http://localhost/{SERVICE}/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(frame)));
        let request = request.map_err(|error| error.to_string())?;
        let mut sender = self.connected().await?;
        let answer = match sender.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                *self.sender.lock().await = None;
                return Err(unavailable(&error));
            }
        };
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Err(format!("the plugin answers with HTTP {}", head.status));
        }
        // An answer without a message has its status in the head.
        status_of(&head.headers).unwrap_or(Ok(()))?;
        if body.is_end_stream() {
            return Err("rpc error: code = Internal desc = an answer without a message".into());
        }
        let whole = Limited::new(body, KMS_ANSWER_BYTES).collect().await;
        let whole = whole.map_err(|error| format!("the answer broke off: {error}"))?;
        let ended = whole.trailers().and_then(status_of);
        ended.unwrap_or_else(|| Err("the answer ends without its status".to_owned()))?;
        let frame = whole.to_bytes();
        match (frame.first(), frame.get(1..FRAME)) {
            (Some(0), Some(length)) if length_of(length) == Some(frame.len() - FRAME) => {
                Ok(frame.slice(FRAME..))
            }
            _ => Err("the answer is no single uncompressed message".to_owned()),
        }
    }

    async fn connected(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let mut kept = self.sender.lock().await;
        if let Some(sender) = &*kept
            && !sender.is_closed()
        {
            return Ok(sender.clone());
        }
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|error| {
            let path = self.path.display();
            format!("rpc error: code = Unavailable desc = connection error: {path}: {error}")
        })?;
        let (sender, driver) = http2::Builder::new(Executor(self.seams.clone()))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unavailable(&error))?;
        self.seams.spawn("kms-h2", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection to a KMS plugin ended");
            }
        });
        *kept = Some(sender.clone());
        Ok(sender)
    }
}

fn unavailable(error: &hyper::Error) -> String {
    format!("rpc error: code = Unavailable desc = {error}")
}

fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = bytes.try_into().map(u32::from_be_bytes).ok()?;
    usize::try_from(length).ok()
}

/// The status that headers or trailers tell, if they do.
fn status_of(headers: &HeaderMap) -> Option<Result<(), String>> {
    let code = headers.get("grpc-status")?;
    if code == "0" {
        return Some(Ok(()));
    }
    let shown = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (code, why) = (shown("grpc-status"), shown("grpc-message"));
    let (code, why) = (code.unwrap_or("?"), why.unwrap_or_default());
    Some(Err(format!("rpc error: code = {code} desc = {why}")))
}

fn message(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, String> {
    fields(bytes).ok_or_else(|| "the plugin's answer is no message".to_owned())
}

fn readable(bytes: &[u8]) -> Result<String, String> {
    text(bytes).ok_or_else(|| "the plugin's answer holds no UTF-8".to_owned())
}

//! A KMS plugin of our own: it wraps with AES-GCM keys that it makes at run time, and can be told
//! to take another key, to be ill, and to say nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use bytes::Bytes;
use hanse_seams::Seams;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

#[derive(Default)]
pub struct State {
    keys: BTreeMap<String, Vec<u8>>,
    pub key_id: String,
    pub healthz: String,
    pub silent: bool,
    pub decrypted: u64,
    pub encrypted: u64,
}

pub struct Plugin {
    pub state: Arc<Mutex<State>>,
    pub path: PathBuf,
    serving: Option<JoinHandle<()>>,
    seams: Seams,
}

impl Plugin {
    pub fn start(path: &Path, seams: &Seams) -> Self {
        let mut plugin = Self {
            state: Arc::default(),
            path: path.to_owned(),
            serving: None,
            seams: seams.clone(),
        };
        plugin.state.lock().healthz = "ok".to_owned();
        plugin.rotate("key-1");
        plugin.resume();
        plugin
    }

    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    pub fn rotate(&self, key_id: &str) {
        let mut key = vec![0; 32];
        self.seams.rng.fill(&mut key);
        let mut state = self.state.lock();
        state.keys.insert(key_id.to_owned(), key);
        state.key_id = key_id.to_owned();
    }

    /// Goes away, with all its connections.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
        let _ = std::fs::remove_file(&self.path);
    }

    pub fn resume(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let state = Arc::clone(&self.state);
        self.serving = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }));
    }
}

type Answer = StreamBody<futures::Frames>;

/// Two frames: the message and the trailers.
mod futures {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures_core::Stream;
    use http_body::Frame;

    pub struct Frames(pub std::vec::IntoIter<Frame<Bytes>>);

    impl Stream for Frames {
        type Item = Result<Frame<Bytes>, std::convert::Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next().map(Ok))
        }
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, std::convert::Infallible> {
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let method = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    assert_eq!((body[0], body.len()), (0, 5 + length));
    if state.lock().silent {
        std::future::pending::<()>().await;
    }
    let (message, code, why) = match reply(&mut state.lock(), &method, &body[5..]) {
        Ok(message) => (message, "0", String::new()),
        Err(why) => (Vec::new(), "13", why),
    };
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", why.parse().unwrap());
    let frames = vec![Frame::data(Bytes::from(frame)), Frame::trailers(trailers)];
    let body = StreamBody::new(futures::Frames(frames.into_iter()));
    let head = Response::builder().header("content-type", "application/grpc");
    Ok(head.body(body).unwrap())
}

fn reply(state: &mut State, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let fields = fields(message);
    let field = |number: u8| fields.get(&number).cloned().unwrap_or_default();
    let mut out = Vec::new();
    let mut put = |number: u8, bytes: &[u8]| {
        out.extend_from_slice(&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()]);
        out.extend_from_slice(bytes);
    };
    let key = |state: &State, id: &str| {
        let key = state.keys.get(id).ok_or(format!("no key {id}"))?;
        Ok::<_, String>(RandomizedNonceKey::new(&AES_256_GCM, key).unwrap())
    };
    match method {
        "/v2.KeyManagementService/Status" => {
            put(1, b"v2");
            put(2, state.healthz.as_bytes());
            put(3, state.key_id.as_bytes());
        }
        "/v2.KeyManagementService/Encrypt" => {
            state.encrypted += 1;
            let mut bytes = field(1);
            let nonce =
                key(state, &state.key_id)?.seal_in_place_append_tag(Aad::empty(), &mut bytes);
            let whole = [&nonce.unwrap().as_ref()[..], &bytes].concat();
            put(1, &whole);
            put(2, state.key_id.as_bytes());
            // One entry of a map: a name and a value.
            put(3, b"\x0a\x0bnote.vault.\x12\x02hi");
        }
        "/v2.KeyManagementService/Decrypt" => {
            state.decrypted += 1;
            if field(4) != b"\x0a\x0bnote.vault.\x12\x02hi" {
                return Err("the note was not given back".to_owned());
            }
            let mut bytes = field(1);
            let sealed = bytes.split_off(12);
            let nonce = Nonce::try_assume_unique_for_key(&bytes).unwrap();
            let id = String::from_utf8(field(3)).unwrap();
            let mut sealed = sealed;
            let plain = key(state, &id)?.open_in_place(nonce, Aad::empty(), &mut sealed);
            put(1, plain.map_err(|_| "not mine".to_owned())?);
        }
        other => return Err(format!("no method {other}")),
    }
    Ok(out)
}

/// Fields of bytes, each shorter than 128.
fn fields(mut message: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut fields = BTreeMap::new();
    while let [tag, length, rest @ ..] = message {
        let (bytes, behind) = rest.split_at(usize::from(*length));
        fields.insert(tag >> 3, bytes.to_vec());
        message = behind;
    }
    fields
}

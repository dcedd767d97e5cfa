//! What can go wrong, sorted by what a caller can do about it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

/// Result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The server answered that it will not or cannot. Repeating helps only for some codes.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer: the server cannot be reached, or the line broke. Repeating may help.
    #[error("{0}")]
    Unreachable(String),
    /// An answer that no API server gives. Repeating rarely helps.
    #[error("unexpected answer: {0}")]
    Malformed(String),
    /// The client itself is not set up right. Repeating never helps.
    #[error("{0}")]
    Config(String),
}

/// An error answer, whole.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason (`NotFound`, `Conflict` ...), empty when the server gave none.
    pub reason: String,
    /// The server's words.
    pub message: String,
    /// When the server says it is worth trying again.
    pub retry_after: Option<Duration>,
    /// The body as it came: a Status object in JSON, or text.
    pub body: Bytes,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.message.is_empty() {
            write!(f, "HTTP {}", self.code)
        } else {
            f.write_str(&self.message)
        }
    }
}

impl Refusal {
    /// Reads an error answer.
    #[must_use]
    pub fn new(code: u16, retry_after: Option<Duration>, body: Bytes) -> Self {
        let status: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        let (reason, mut message) = (text("reason"), text("message"));
        if status.is_null() {
            message = String::from_utf8_lossy(&body).trim().to_owned();
        }
        let seconds = status["details"]["retryAfterSeconds"].as_u64();
        let retry_after = retry_after.or_else(|| seconds.map(Duration::from_secs));
        Self {
            code,
            reason,
            message,
            retry_after,
            body,
        }
    }

    /// The Status object, or null when the body is none.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Error {
    /// The HTTP status code, 0 when there was no answer.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.refusal().map_or(0, |r| r.code)
    }
    /// The reason that the server gave, empty without one.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.refusal().map_or("", |r| r.reason.as_str())
    }
    /// The server's answer, when it gave one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
    /// Whether the object, or its kind, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }
    /// Whether somebody else was faster, or holds a field.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == 409 && self.reason() != "AlreadyExists"
    }
    /// Whether the object is there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }
    /// Whether the server no longer remembers the version that was asked for.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.code() == 410 || self.reason() == "Expired"
    }
    /// Whether the same request may succeed later without any change by the caller: no answer,
    /// a server in trouble, or too many requests.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(r) => r.code == 429 || r.code >= 502 || r.reason == "ServerTimeout",
            Self::Malformed(_) | Self::Config(_) => false,
        }
    }
    /// When the server says it is worth trying again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|r| r.retry_after)
    }
}

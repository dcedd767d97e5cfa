//! An answer on its way out: status code, headers, body.
//!
//! Start at [`Answer`]; `From<Box<Status>>` makes every failure one. The invariant: every answer
//! goes through [`Answer::into_response`], which alone adds the headers that all answers have in
//! common (cache control, warnings, audit id, content sniffing).

use bytes::Bytes;
use hanse_json::Value;
use hanse_wire::status::Status;
use hanse_wire::warning::Warnings;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Body;

/// `application/json`.
pub const JSON: &str = "application/json";
/// Plain text, as Go spells it.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// See the module's words.
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// Headers beyond the common ones, the content type among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// Bytes of some media type.
    #[must_use]
    pub fn bytes(code: u16, content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self::with_body(code, content_type, Body::whole(bytes))
    }

    /// A body of some media type.
    #[must_use]
    pub fn with_body(code: u16, content_type: &'static str, body: Body) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self {
            code,
            headers,
            body,
        }
    }

    /// Plain text. Browsers must not guess another type: parts of it may be a client's words.
    #[must_use]
    pub fn text(code: u16, text: impl Into<String>) -> Self {
        let mut answer = Self::bytes(code, TEXT, text.into());
        let nosniff = HeaderValue::from_static("nosniff");
        answer
            .headers
            .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        answer
    }

    /// The answer for paths that nothing is served at (URL-10).
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::text(404, "404 page not found\n")
    }

    /// A JSON document.
    #[must_use]
    pub fn json(code: u16, value: &Value, pretty: bool) -> Self {
        Self::bytes(code, JSON, json_bytes(value, pretty))
    }

    /// A Status, as JSON.
    #[must_use]
    pub fn status(status: &Status, pretty: bool) -> Self {
        let mut answer = Self::json(status.code, &status.to_json(), pretty);
        if let Some(seconds) = status.retry_after() {
            answer
                .headers
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    /// Forbids browsers to guess another content type.
    pub fn forbid_sniffing(&mut self) {
        let nosniff = HeaderValue::from_static("nosniff");
        self.headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    }

    /// An answer to HEAD: all of it but the body, whose length is told where it is known.
    pub fn leave_body_out(&mut self) {
        if let Some(length) = self.body.leave_out() {
            self.headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }

    /// Adds a header. Values that no header can hold are left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The HTTP response. `private` answers belong to one caller: nobody else may keep them.
    #[must_use]
    pub fn into_response(
        self,
        warnings: &Warnings,
        audit_id: &str,
        private: bool,
    ) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() =
            StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        *headers = self.headers;
        if private && !headers.contains_key(header::CACHE_CONTROL) {
            let value = HeaderValue::from_static("no-cache, private");
            headers.insert(header::CACHE_CONTROL, value);
        }
        for text in warnings.headers() {
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.append(header::WARNING, value);
            }
        }
        if let Ok(value) = HeaderValue::from_str(audit_id) {
            headers.insert(HeaderName::from_static("audit-id"), value);
        }
        response
    }
}

/// A tree as JSON, indented for people.
#[must_use]
pub fn json_bytes(value: &Value, pretty: bool) -> Vec<u8> {
    if pretty {
        hanse_json::to_vec_pretty(value)
    } else {
        hanse_json::to_vec(value)
    }
}

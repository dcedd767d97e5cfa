//! The opaque token that carries a chunked list from page to page.
//!
//! The form is upstream's (unpadded base64url of a small JSON document), so that tokens survive
//! a change of replica or of server version.

use hanse_json::{Limits, get_i64, get_str, json, parse};

use crate::base64;
use crate::limits::MAX_CONTINUE_BYTES;
use crate::status::{Result, Status};

/// The version in a token that gave up on consistency: go on at the current state.
pub const INCONSISTENT: i64 = -1;

/// Where a chunked list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The resourceVersion of the whole listing, or [`INCONSISTENT`].
    pub version: i64,
    /// The first key that may come, relative to the listed collection (`namespace/name` or
    /// `name`), usually the last key that was sent with a NUL behind it.
    pub start: String,
}

impl Token {
    /// The token that goes on behind `last_key`.
    pub fn after(last_key: &str, version: i64) -> Self {
        Token {
            version,
            start: format!("{last_key}\0"),
        }
    }

    /// As sent to the client.
    pub fn encode(&self) -> String {
        let value = json!({"v": "meta.k8s.io/v1", "rv": self.version, "start": self.start});
        base64::encode_url(&hanse_json::to_vec(&value))
    }

    /// Reads what a client sends back.
    ///
    /// # Errors
    /// 400 for anything that is not a token, or that points outside of the collection.
    pub fn decode(text: &str) -> Result<Self> {
        decode(text).map_err(|why| Status::bad_request(format!("invalid continue token: {why}")))
    }
}

fn decode(text: &str) -> std::result::Result<Token, String> {
    let invalid = |why: &dyn std::fmt::Display| format!("continue key is not valid: {why}");
    if text.len() > MAX_CONTINUE_BYTES {
        return Err(invalid(&"token too long"));
    }
    let bytes = base64::decode_url(text).map_err(|err| invalid(&err))?;
    let value = parse(&bytes, &Limits::default())
        .map_err(|err| invalid(&err))?
        .value;
    let version = get_str(&value, &["v"]).unwrap_or_default();
    if version != "meta.k8s.io/v1" {
        let why = format!("server does not recognize this encoded version {version}");
        return Err(invalid(&why));
    }
    let version = get_i64(&value, &["rv"]).unwrap_or_default();
    if version == 0 {
        let why = "incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
        return Err(invalid(&why));
    }
    let start = get_str(&value, &["start"]).unwrap_or_default();
    if start.is_empty() {
        return Err(invalid(&"encoded start key empty (version meta.k8s.io/v1)"));
    }
    let relative = start.strip_prefix('/').unwrap_or(start);
    if relative
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(invalid(&start));
    }
    Ok(Token {
        version,
        start: relative.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went() {
        let token = Token::after("default/a", 25_087);
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
    }

    #[test]
    fn refuses_in_upstreams_words() {
        let message = |text: &str| Token::decode(text).unwrap_err().message;
        let token = |json: &str| base64::encode_url(json.as_bytes());
        assert_eq!(
            message("bogus"),
            "invalid continue token: continue key is not valid: illegal base64 data at input \
             byte 4"
        );
        assert_eq!(
            message(&token(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#)),
            "invalid continue token: continue key is not valid: incorrect encoded start \
             resourceVersion (version meta.k8s.io/v1)"
        );
        assert_eq!(
            message(&token(r#"{"v":"x","rv":1,"start":"a"}"#)),
            "invalid continue token: continue key is not valid: server does not recognize this \
             encoded version x"
        );
        for start in ["../x", "a//b", "a/./b", "/../x"] {
            let text = json!({"v": "meta.k8s.io/v1", "rv": 1, "start": start}).to_string();
            assert!(message(&token(&text)).ends_with(start));
        }
    }
}

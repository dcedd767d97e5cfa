//! APIExports: identity, and the endpoint slice that each gets.

/// Text of an identity: unpadded base64url of its bytes (43 characters for 32 bytes).
#[must_use]
pub fn identity_text(bytes: &[u8]) -> String {
    let text = hanse_wire::base64::encode_url(bytes);
    text.trim_end_matches('=').to_owned()
}

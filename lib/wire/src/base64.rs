//! Base64 with the error positions that Go reports.
//!
//! Decoding is ours because clients see Go's `illegal base64 data at input byte N`, and what N is
//! depends on the order in which Go's decoder looks at things. Encoding is the `base64` crate's.

use ::base64::Engine;
use ::base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::fmt;

/// The input is not base64; the number is the offset that Go names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal(pub usize);

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal base64 data at input byte {}", self.0)
    }
}

impl std::error::Error for Illegal {}

/// With `+`, `/` and padding: the form of bytes in JSON.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// With `-`, `_` and no padding: the form of tokens in URLs.
pub fn encode_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads the padded standard alphabet.
///
/// # Errors
/// [`Illegal`] at the first offending byte.
pub fn decode(text: &str) -> Result<Vec<u8>, Illegal> {
    decode_with(text.as_bytes(), [b'+', b'/'], true)
}

/// Reads the unpadded URL alphabet.
///
/// # Errors
/// [`Illegal`] at the first offending byte.
pub fn decode_url(text: &str) -> Result<Vec<u8>, Illegal> {
    decode_with(text.as_bytes(), [b'-', b'_'], false)
}

fn digit(c: u8, last_two: [u8; 2]) -> Option<u32> {
    match c {
        b'A'..=b'Z' => Some(u32::from(c - b'A')),
        b'a'..=b'z' => Some(u32::from(c - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(c - b'0') + 52),
        _ if c == last_two[0] => Some(62),
        _ if c == last_two[1] => Some(63),
        _ => None,
    }
}

fn skip_newlines(src: &[u8], mut at: usize) -> usize {
    while let Some(b'\n' | b'\r') = src.get(at) {
        at += 1;
    }
    at
}

fn decode_with(src: &[u8], last_two: [u8; 2], padded: bool) -> Result<Vec<u8>, Illegal> {
    let mut out = Vec::with_capacity(src.len() / 4 * 3 + 3);
    let mut at = 0;
    loop {
        // One quantum: four digits make three bytes; newlines between them do not count.
        let (mut bits, mut digits) = (0u32, 0usize);
        while digits < 4 {
            let Some(&c) = src.get(at) else {
                if digits == 0 {
                    return Ok(out);
                }
                if digits == 1 || padded {
                    return Err(Illegal(at - digits));
                }
                break;
            };
            at += 1;
            if let Some(value) = digit(c, last_two) {
                bits = bits << 6 | value;
                digits += 1;
            } else if c == b'\n' || c == b'\r' {
                continue;
            } else if c == b'=' && padded {
                at = padding(src, at, digits)?;
                break;
            } else {
                return Err(Illegal(at - 1));
            }
        }
        let bytes = (bits << (6 * (4 - digits))).to_be_bytes();
        out.extend_from_slice(&bytes[1..digits.max(1)]);
        if digits < 4 {
            return Ok(out);
        }
    }
}

/// Checks the rest of a quantum that ends in padding, whose first `=` is just behind us.
fn padding(src: &[u8], mut at: usize, digits: usize) -> Result<usize, Illegal> {
    if digits < 2 {
        return Err(Illegal(at - 1));
    }
    if digits == 2 {
        at = skip_newlines(src, at);
        match src.get(at) {
            None => return Err(Illegal(src.len())),
            Some(b'=') => at += 1,
            Some(_) => return Err(Illegal(at - 1)),
        }
    }
    at = skip_newlines(src, at);
    if at < src.len() {
        Err(Illegal(at))
    } else {
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_the_byte_that_go_names() {
        for (text, at) in [
            ("***", 0),
            ("abc", 0),
            ("YWJ", 0),
            ("YWJj!", 4),
            ("Y===", 1),
        ] {
            assert_eq!(decode(text), Err(Illegal(at)), "{text}");
        }
        assert_eq!(decode("YQ="), Err(Illegal(3)));
        assert_eq!(decode("YQ==x"), Err(Illegal(4)));
        assert_eq!(decode_url("bogus"), Err(Illegal(4)));
        assert_eq!(decode("YW\nJj\r\nZA==\n"), Ok(b"abcd".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes.clone()));
            prop_assert_eq!(decode_url(&encode_url(&bytes)), Ok(bytes));
        }

        #[test]
        fn anything_is_answered(text in "[A-Za-z0-9+/=\n -]{0,12}") {
            let theirs = STANDARD.decode(text.replace('\n', ""));
            prop_assert_eq!(decode(&text).is_ok(), theirs.is_ok() || lenient(&text));
        }
    }

    /// Go ignores the unused bits of the last digit, the crate refuses them.
    fn lenient(text: &str) -> bool {
        let clean = text.replace('\n', "");
        let digits = clean.trim_end_matches('=');
        let pads = clean.len() - digits.len();
        clean.len().is_multiple_of(4)
            && pads <= 2
            && digits.bytes().all(|c| digit(c, *b"+/").is_some())
    }
}

//! When and how bodies are compressed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::limits::MIN_GZIP_BYTES;

/// Whether a body of this size goes out compressed to a client that sent this `Accept-Encoding`.
/// Watches never do: a frame must not wait for the next one.
pub fn wanted(accept_encoding: Option<&str>, body_len: usize) -> bool {
    body_len > MIN_GZIP_BYTES
        && accept_encoding.is_some_and(|header| {
            header.split(',').any(|clause| {
                let (name, parameters) = clause.split_once(';').unwrap_or((clause, ""));
                let refused = matches!(parameters.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
                matches!(name.trim(), "gzip" | "*") && !refused
            })
        })
}

/// Compresses at the fastest level. Writing to memory cannot fail; if it should all the same,
/// there is no compressed form.
pub fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let out = Vec::with_capacity(body.len() / 4);
    let mut encoder = GzEncoder::new(out, Compression::new(1));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn compresses_large_bodies_for_those_who_ask() {
        assert!(wanted(Some("deflate, gzip;q=1.0"), MIN_GZIP_BYTES + 1));
        assert!(!wanted(Some("gzip"), MIN_GZIP_BYTES));
        assert!(!wanted(Some("gzip;q=0"), MIN_GZIP_BYTES + 1));
        assert!(!wanted(None, MIN_GZIP_BYTES + 1));
        let body = vec![b'x'; 1000];
        let small = compress(&body).unwrap();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(small.as_slice())
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, body);
    }
}

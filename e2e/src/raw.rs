//! Bytes on the wire as no well-behaved client would send them: a TLS stream, and HTTP/2 frames
//! written by hand.
//!
//! Start at [`Raw::connect`]. Nothing here keeps a rule of the protocol; what the server answers is
//! read only where a test asks for it.

use std::time::Duration;

use anyhow::{Context, Result};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http::{Protocol, connector};
use crate::kubeconfig::Access;

/// Kinds of frames.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub const END_STREAM: u8 = 1;
/// See [`END_STREAM`].
pub const END_HEADERS: u8 = 4;

/// How long one write may be held up before the server is thought to take no more.
const WRITE_TIME_MAX: Duration = Duration::from_secs(2);

/// An encrypted connection without any protocol on it.
pub struct Raw {
    stream: TlsStream<TcpStream>,
    token: String,
}

impl Raw {
    /// Connects and shakes hands for this protocol.
    pub async fn connect(access: &Access, protocol: Protocol) -> Result<Raw> {
        let address = access.server.trim_start_matches("https://");
        let address = address.split('/').next().unwrap_or_default();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = connector(access, protocol)?.connect(name, stream).await?;
        let token = access.token.clone().unwrap_or_default();
        Ok(Raw { stream, token })
    }

    /// The same with HTTP/2's preface and these settings sent.
    pub async fn h2(access: &Access, settings: &[(u16, u32)]) -> Result<Raw> {
        let mut raw = Raw::connect(access, Protocol::H2).await?;
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut body = Vec::new();
        for (name, value) in settings {
            body.extend_from_slice(&name.to_be_bytes());
            body.extend_from_slice(&value.to_be_bytes());
        }
        first.extend(frame(kind::SETTINGS, 0, 0, &body));
        raw.write(&first).await?;
        Ok(raw)
    }

    /// Writes bytes; an error when the server has closed, or takes no more for a while.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written = tokio::time::timeout(WRITE_TIME_MAX, write).await;
        Ok(written.context("the server takes no more")??)
    }

    /// Reads what there is within a time; empty at the end of the stream or when nothing comes.
    pub async fn read_some(&mut self, within: Duration) -> Vec<u8> {
        let mut buffer = vec![0; 64 * 1024];
        match tokio::time::timeout(within, self.stream.read(&mut buffer)).await {
            Ok(Ok(count)) => buffer[..count].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Reads until the server closes, or nothing has come for so long; true if it closed.
    pub async fn drain(&mut self, patience: Duration) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match tokio::time::timeout(patience, self.stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return true,
                Ok(Ok(_)) => {}
                Err(_) => return false,
            }
        }
    }

    /// The header block of a request as the caller, every field written out.
    pub fn request(&self, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        let token = format!("Bearer {}", self.token);
        let first = [
            (":method", method),
            (":scheme", "https"),
            (":path", path),
            (":authority", "127.0.0.1"),
            ("authorization", token.as_str()),
        ];
        for (name, value) in first.iter().chain(more) {
            literal(&mut block, name, value);
        }
        block
    }
}

/// A field that is not put into the table of the connection.
pub fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    text(block, name);
    text(block, value);
}

/// A field that the other side has to keep: the next one is known as number 62.
pub fn kept(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x40);
    text(block, name);
    text(block, value);
}

fn text(block: &mut Vec<u8>, text: &str) {
    let length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            block.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + body.len());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Lets this process have as many files open as it may at all.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_fields_are_as_the_protocol_has_them() {
        assert_eq!(
            frame(6, 1, 3, b"ab"),
            [0, 0, 2, 6, 1, 0, 0, 0, 3, b'a', b'b']
        );
        let mut block = Vec::new();
        literal(&mut block, "a", &"x".repeat(127));
        assert_eq!(&block[..6], &[0, 1, b'a', 127, 0, b'x']);
        let mut block = Vec::new();
        kept(&mut block, "a", &"x".repeat(300));
        assert_eq!(&block[..6], &[0x40, 1, b'a', 127, 173, 1]);
    }
}

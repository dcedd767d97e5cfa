//! Every bound of the client in one place.

use std::time::Duration;

/// Largest answer that is read whole.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest frame of a watch (a Kubernetes object is at most a few MiB).
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Objects in one page of a list.
pub const PAGE_OBJECTS: u32 = 500;
/// Longest wait for a connection with its handshakes.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for an answer that is not a watch.
pub const ANSWER: Duration = Duration::from_secs(30);
/// A connection that is in use but silent for so long is asked for a sign of life.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long it may take to give one.
pub const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);
/// First pause after a failed attempt to follow a resource.
pub const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest pause between attempts to follow a resource.
pub const RETRY_MAX: Duration = Duration::from_secs(15);
/// How long a token file is trusted before it is read again.
pub const TOKEN_FILE_AGE: Duration = Duration::from_secs(60);
/// Idle HTTP/1.1 connections that are kept.
pub const IDLE_CONNECTIONS: usize = 8;

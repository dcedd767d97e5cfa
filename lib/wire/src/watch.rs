//! The frames of a watch: one JSON object a line.
//!
//! Objects arrive as bytes and leave as bytes; nothing is parsed here.

use hanse_json::json;

use crate::status::Status;

/// The annotation of the bookmark that ends the initial events of a streaming list.
pub const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It is there, or has started to match.
    Added,
    /// It has changed.
    Modified,
    /// It is gone, or matches no longer.
    Deleted,
    /// Nothing: everything up to this version has been sent.
    Bookmark,
    /// The watch has failed and ends.
    Error,
}

impl EventType {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
            EventType::Bookmark => "BOOKMARK",
            EventType::Error => "ERROR",
        }
    }
}

/// Appends one frame; `object` writes the object's JSON.
pub fn write_frame(out: &mut Vec<u8>, event: EventType, object: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(event.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object(out);
    out.extend_from_slice(b"}\n");
}

/// One frame around the JSON bytes of an object.
pub fn frame(event: EventType, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 40);
    write_frame(&mut out, event, |out| out.extend_from_slice(object));
    out
}

/// The object of a bookmark: of the watched kind, with nothing but a version in it.
pub fn bookmark_object(
    api_version: &str,
    kind: &str,
    resource_version: u64,
    initial_events_end: bool,
) -> hanse_json::Value {
    let mut metadata = json!({"resourceVersion": resource_version.to_string()});
    if initial_events_end {
        metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

/// A bookmark frame.
pub fn bookmark(
    api_version: &str,
    kind: &str,
    resource_version: u64,
    initial_events_end: bool,
) -> Vec<u8> {
    let object = bookmark_object(api_version, kind, resource_version, initial_events_end);
    frame(EventType::Bookmark, &hanse_json::to_vec(&object))
}

/// The frame that ends a watch that failed after it had begun.
pub fn error_frame(status: &Status) -> Vec<u8> {
    frame(EventType::Error, &hanse_json::to_vec(&status.to_json()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_lines() {
        assert_eq!(
            frame(EventType::Added, b"{}"),
            b"{\"type\":\"ADDED\",\"object\":{}}\n"
        );
        let text = String::from_utf8(bookmark("v1", "ConfigMap", 511, true)).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"BOOKMARK\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\
             \"metadata\":{\"annotations\":{\"k8s.io/initial-events-end\":\"true\"},\
             \"resourceVersion\":\"511\"}}}\n"
        );
        let text = error_frame(&Status::expired("too old resource version: 1 (964)"));
        assert_eq!(text.iter().filter(|&&c| c == b'\n').count(), 1);
    }
}

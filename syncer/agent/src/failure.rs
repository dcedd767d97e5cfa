//! What a refusal of the site means, in the words that the tenant is shown (rules 10 and 11).
//!
//! Invariant: every failed apply gets a reason; only an unreachable site is not the object's fault.

use hanse_apis::sites::ApplyError;
use hanse_client::Error;

use crate::limits::MESSAGE_BYTES_MAX;

/// Phrases by which API servers say that an object does not fit their schema.
const SCHEMA: &[&str] = &[
    "field not declared in schema",
    "strict decoding error",
    "unknown field",
    "failed to create typed patch object",
    "expected map, got",
    "expected list, got",
    "expected string, got",
    "expected numeric",
    "ValidationError",
];

/// Says why an apply failed.
pub fn explain(error: &Error, kind: &str) -> ApplyError {
    let message = error.to_string();
    let (reason, message) = match error {
        Error::Unreachable(_) => ("Unreachable", message),
        Error::Refused(r) => match r.code {
            404 if r.reason == "NotFound" && is_missing_kind(&r.message) => {
                ("Incompatible", format!("the site does not serve {kind}"))
            }
            400 | 415 | 422 | 500 if SCHEMA.iter().any(|s| r.message.contains(s)) => {
                ("Incompatible", message)
            }
            401 | 403 => ("Forbidden", message),
            409 => ("Conflict", message),
            429 | 502..=504 => ("Unreachable", message),
            _ => ("Rejected", message),
        },
        Error::Malformed(_) | Error::Config(_) => ("Rejected", message),
    };
    let fields = if reason == "Incompatible" {
        paths(&message)
    } else {
        causes(error)
    };
    ApplyError {
        reason: reason.to_owned(),
        message: short(&message),
        fields,
        ..Default::default()
    }
}

/// Whether a 404 is about the kind rather than about a namespace.
pub fn is_missing_kind(message: &str) -> bool {
    message.contains("could not find the requested resource") || message.contains("page not found")
}

/// The paths in a schema error: words that begin with a dot, or stand in quotes after `field`.
fn paths(message: &str) -> Vec<String> {
    let mut out: Vec<String> = message
        .split([' ', ';', ',', '\n'])
        .filter(|w| w.len() > 1 && w.starts_with('.'))
        .map(|w| w.trim_end_matches(':').to_owned())
        .collect();
    for (at, _) in message.match_indices("field \"") {
        if let Some(field) = message[at + 7..].split('"').next() {
            out.push(format!(".{field}"));
        }
    }
    out.sort();
    out.dedup();
    out.truncate(16);
    out
}

fn causes(error: &Error) -> Vec<String> {
    let status = error
        .refusal()
        .map(hanse_client::Refusal::status)
        .unwrap_or_default();
    let causes = status["details"]["causes"].as_array();
    let fields = causes
        .into_iter()
        .flatten()
        .filter_map(|c| c["field"].as_str());
    let mut out: Vec<String> = fields
        .map(|f| format!(".{}", f.trim_start_matches('.')))
        .collect();
    out.sort();
    out.dedup();
    out.truncate(16);
    out
}

/// Cuts a message at the bound.
pub fn short(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hanse_client::Refusal;
    use serde_json::json;

    fn refused(code: u16, reason: &str, message: &str) -> Error {
        let body = json!({"reason": reason, "message": message}).to_string();
        Error::Refused(Box::new(Refusal::new(code, None, Bytes::from(body))))
    }

    #[test]
    fn every_refusal_has_a_reason() {
        let smd = "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): \
                   .spec.foo: field not declared in schema";
        let strict = "strict decoding error: unknown field \"spec.bar\"";
        let rows = [
            (refused(500, "", smd), "Incompatible", vec![".spec.foo"]),
            (
                refused(400, "BadRequest", strict),
                "Incompatible",
                vec![".spec.bar"],
            ),
            (
                refused(
                    404,
                    "NotFound",
                    "the server could not find the requested resource",
                ),
                "Incompatible",
                vec![],
            ),
            (
                refused(422, "Invalid", "spec.x: Invalid value"),
                "Rejected",
                vec![],
            ),
            (refused(403, "Forbidden", "quota"), "Forbidden", vec![]),
            (Error::Unreachable("x".into()), "Unreachable", vec![]),
        ];
        for (error, reason, fields) in rows {
            let said = explain(&error, "deployments.apps");
            assert_eq!(
                (said.reason.as_str(), said.fields),
                (reason, fields.iter().map(|f| (*f).to_owned()).collect())
            );
        }
    }
}

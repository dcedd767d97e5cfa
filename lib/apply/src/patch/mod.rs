//! The patches that know nothing of ownership: [`json_patch`] (RFC 6902), [`merge_patch`]
//! (RFC 7386), [`strategic`] (Kubernetes' own, for kinds that Kubernetes defines).

pub mod json_patch;
pub mod strategic;

use hanse_json::{Map, Value};

pub use json_patch::json_patch;
pub use strategic::{MergeSchema, strategic_merge};

/// Why a patch was refused; the HTTP answer follows from the variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// The patch is not of its form: 400.
    Malformed(String),
    /// The patch does not fit the object (a path is missing, a test failed): 422.
    Unprocessable(String),
    /// The patch asks for more than the limits allow: 413.
    TooLarge(String),
}

impl std::fmt::Display for PatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PatchError::Malformed(text)
            | PatchError::Unprocessable(text)
            | PatchError::TooLarge(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for PatchError {}

/// RFC 7386: the patched document. Nulls remove, also inside newly made parents (PAT-17).
pub fn merge_patch(document: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut out = match document {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    for (name, change) in changes {
        if change.is_null() {
            out.remove(name);
        } else {
            let before = out.get(name).unwrap_or(&Value::Null);
            let after = merge_patch(before, change);
            out.insert(name.clone(), after);
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    /// The table of RFC 7386, appendix A.
    #[test]
    fn merge_patch_follows_the_rfc() {
        for (document, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            assert_eq!(
                merge_patch(&document, &patch),
                result,
                "{document} + {patch}"
            );
        }
    }
}

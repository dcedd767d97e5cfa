//! Field errors: what is wrong, where, with which value, in Kubernetes' words.
//!
//! Start at [`Error`]: its `to_string()` is the text a client sees, [`Error::cause_reason`] and
//! [`Error::body`] are the parts of a Status cause. [`Path`] makes the paths. The invariant: the
//! texts are those of apimachinery's `field` package, byte for byte. Making a Status of an
//! [`ErrorList`] is `hanse-wire`'s.

use std::fmt;

use serde_json::Value;

use crate::limits::{CUT_ERROR_BYTES, WHOLE_ERRORS_MAX};
use hanse_json::go;

/// What kind of thing is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorType {
    /// A value that is referred to does not exist.
    NotFound,
    /// A value is absent (or empty) that has to be there.
    Required,
    /// A value occurs twice that has to be unique.
    Duplicate,
    /// A malformed value.
    Invalid,
    /// A value outside an enumeration.
    NotSupported,
    /// A well-formed value that is not permitted here.
    Forbidden,
    /// A string or map that is too long; the value is not shown.
    TooLong,
    /// A list with too many items; the value is their number.
    TooMany,
    /// Not the user's fault.
    Internal,
    /// A value of the wrong JSON type; renders like [`ErrorType::Invalid`].
    TypeInvalid,
}

impl ErrorType {
    /// The `reason` of a Status cause, such as `FieldValueInvalid`.
    pub fn cause_reason(self) -> &'static str {
        match self {
            ErrorType::NotFound => "FieldValueNotFound",
            ErrorType::Required => "FieldValueRequired",
            ErrorType::Duplicate => "FieldValueDuplicate",
            ErrorType::Invalid => "FieldValueInvalid",
            ErrorType::NotSupported => "FieldValueNotSupported",
            ErrorType::Forbidden => "FieldValueForbidden",
            ErrorType::TooLong => "FieldValueTooLong",
            ErrorType::TooMany => "FieldValueTooMany",
            ErrorType::Internal => "InternalError",
            ErrorType::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The words in the rendered error, such as `Invalid value`.
    pub fn text(self) -> &'static str {
        match self {
            ErrorType::NotFound => "Not found",
            ErrorType::Required => "Required value",
            ErrorType::Duplicate => "Duplicate value",
            ErrorType::Invalid | ErrorType::TypeInvalid => "Invalid value",
            ErrorType::NotSupported => "Unsupported value",
            ErrorType::Forbidden => "Forbidden",
            ErrorType::TooLong => "Too long",
            ErrorType::TooMany => "Too many",
            ErrorType::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(
            self,
            ErrorType::Required | ErrorType::Forbidden | ErrorType::TooLong | ErrorType::Internal
        )
    }
}

/// The offending value, as far as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum BadValue {
    /// A string: shown as a Go `%q` literal.
    Text(String),
    /// An integer: shown bare.
    Int(i64),
    /// A number: shown as Go's `%v` does.
    Float(f64),
    /// `true` or `false`: shown bare.
    Bool(bool),
    /// Anything else, already as JSON text (see [`go::json`]); also typed strings and numbers,
    /// which Kubernetes shows as JSON and not as `%q`.
    Json(String),
}

/// Shortens a text to [`CUT_ERROR_BYTES`].
pub(crate) fn cut(text: &mut String) {
    if text.len() > CUT_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(CUT_ERROR_BYTES));
        text.push_str("...");
    }
}

impl BadValue {
    /// Go's nil.
    pub fn null() -> Self {
        BadValue::Json("null".into())
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadValue::Text(s) => f.write_str(&go::quote(s)),
            BadValue::Int(n) => write!(f, "{n}"),
            BadValue::Float(n) => f.write_str(&go::float_v(*n)),
            BadValue::Bool(b) => write!(f, "{b}"),
            BadValue::Json(s) => f.write_str(s),
        }
    }
}

impl From<&str> for BadValue {
    fn from(s: &str) -> Self {
        BadValue::Text(s.to_owned())
    }
}

impl From<String> for BadValue {
    fn from(s: String) -> Self {
        BadValue::Text(s)
    }
}

impl From<i64> for BadValue {
    fn from(n: i64) -> Self {
        BadValue::Int(n)
    }
}

impl From<f64> for BadValue {
    fn from(n: f64) -> Self {
        BadValue::Float(n)
    }
}

impl From<bool> for BadValue {
    fn from(b: bool) -> Self {
        BadValue::Bool(b)
    }
}

impl From<&Value> for BadValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(s) => BadValue::Text(s.clone()),
            Value::Bool(b) => BadValue::Bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => BadValue::Int(i),
                (None, Some(f)) => BadValue::Float(f),
                (None, None) => BadValue::Json(n.to_string()),
            },
            other => BadValue::Json(go::json(other)),
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// What kind of error.
    pub ty: ErrorType,
    /// The rendered path; `<nil>` for the object as a whole.
    pub field: String,
    /// The offending value; `None` shows none.
    pub value: Option<BadValue>,
    /// Why it is wrong; may be empty.
    pub detail: String,
}

impl Error {
    /// Shortens what it shows to [`CUT_ERROR_BYTES`].
    pub(crate) fn cut(&mut self) {
        cut(&mut self.detail);
        if let Some(BadValue::Text(text) | BadValue::Json(text)) = &mut self.value {
            cut(text);
        }
    }

    /// A malformed value.
    pub fn invalid(path: &Path, value: impl Into<BadValue>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, Some(value.into()), detail.into())
    }

    /// A malformed value that is not shown.
    pub fn invalid_omitted(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, None, detail.into())
    }

    /// A value of the wrong type.
    pub fn type_invalid(
        path: &Path,
        value: impl Into<BadValue>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(
            ErrorType::TypeInvalid,
            path,
            Some(value.into()),
            detail.into(),
        )
    }

    /// A missing value; `detail` is often empty.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Required, path, None, detail.into())
    }

    /// A value that is not permitted here.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Forbidden, path, None, detail.into())
    }

    /// A value that occurs twice.
    pub fn duplicate(path: &Path, value: impl Into<BadValue>) -> Self {
        Self::new(
            ErrorType::Duplicate,
            path,
            Some(value.into()),
            String::new(),
        )
    }

    /// A reference to something that is not there.
    pub fn not_found(path: &Path, value: impl Into<BadValue>) -> Self {
        Self::new(ErrorType::NotFound, path, Some(value.into()), String::new())
    }

    /// A value outside an enumeration; `supported` in the order in which it is to be listed.
    pub fn not_supported<S: AsRef<str>>(
        path: &Path,
        value: impl Into<BadValue>,
        supported: &[S],
    ) -> Self {
        let mut detail = String::new();
        for (i, s) in supported.iter().enumerate() {
            detail.push_str(if i == 0 { "supported values: " } else { ", " });
            detail.push_str(&go::quote(s.as_ref()));
        }
        Self::new(ErrorType::NotSupported, path, Some(value.into()), detail)
    }

    /// A text or map over its limit in bytes.
    pub fn too_long(path: &Path, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        Self::new(ErrorType::TooLong, path, None, detail)
    }

    /// A list over its limit: `actual` items where at most `max` may be.
    pub fn too_many(path: &Path, actual: i64, max: i64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::new(
            ErrorType::TooMany,
            path,
            Some(BadValue::Int(actual)),
            detail,
        )
    }

    /// Something that is not the user's fault.
    pub fn internal(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Internal, path, None, detail.into())
    }

    fn new(ty: ErrorType, path: &Path, value: Option<BadValue>, detail: String) -> Self {
        Self {
            ty,
            field: path.to_string(),
            value,
            detail,
        }
    }

    /// The `reason` of a Status cause.
    pub fn cause_reason(&self) -> &'static str {
        self.ty.cause_reason()
    }

    /// The rendering without the path: the `message` of a Status cause.
    pub fn body(&self) -> String {
        let mut out = String::from(self.ty.text());
        if self.ty.shows_value()
            && let Some(value) = &self.value
        {
            out.push_str(": ");
            out.push_str(&value.to_string());
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for Error {}

/// All that is wrong with an object, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorList(pub Vec<Error>);

impl ErrorList {
    /// Nothing wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many errors, duplicates included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One more; see [`WHOLE_ERRORS_MAX`].
    pub fn push(&mut self, mut error: Error) {
        if self.0.len() >= WHOLE_ERRORS_MAX {
            error.cut();
        }
        self.0.push(error);
    }

    /// The errors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }

    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// The list itself when it is not empty.
    pub fn into_result(self) -> Result<(), ErrorList> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// The aggregated text: the error itself when there is one, `[e1, e2]` when there are several
/// different ones; equal texts collapse.
impl fmt::Display for ErrorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for error in &self.0 {
            let text = error.to_string();
            if seen.insert(text.clone()) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

impl std::error::Error for ErrorList {}

impl Extend<Error> for ErrorList {
    fn extend<T: IntoIterator<Item = Error>>(&mut self, iter: T) {
        self.0.extend(iter);
    }
}

impl IntoIterator for ErrorList {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ErrorList {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Error> for ErrorList {
    fn from_iter<T: IntoIterator<Item = Error>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl From<Error> for ErrorList {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

/// The path to a field: `spec.versions[0].name`, `data[key]`.
///
/// A path owns its text, so making one costs an allocation: hot loops build it when an error is
/// certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Option<String>);

impl Path {
    /// A path that starts at a field.
    pub fn new(name: &str) -> Self {
        Self::nil().child(name)
    }

    /// No path: the object as a whole, shown as `<nil>`.
    pub fn nil() -> Self {
        Self(None)
    }

    /// A path that is already rendered.
    pub fn rendered(text: impl Into<String>) -> Self {
        Self(Some(text.into()))
    }

    /// The field `name` of what this path leads to.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if name.is_empty() {
            return self.key("");
        }
        match &self.0 {
            None => Self(Some(name.to_owned())),
            Some(text) => Self(Some(format!("{text}.{name}"))),
        }
    }

    /// The `index`-th item of the list that this path leads to.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(Some(format!(
            "{}[{index}]",
            self.0.as_deref().unwrap_or_default()
        )))
    }

    /// The entry `key` of the map that this path leads to.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(Some(format!(
            "{}[{key}]",
            self.0.as_deref().unwrap_or_default()
        )))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("<nil>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn many_errors_about_one_long_text_stay_small() {
        let (mut errors, long) = (ErrorList::new(), "é".repeat(100_000));
        for n in 0..1_000 {
            errors.push(Error::invalid(
                &Path::new("spec").index(n),
                long.as_str(),
                long.as_str(),
            ));
        }
        let sizes: Vec<usize> = errors.iter().map(|error| error.to_string().len()).collect();
        assert!(sizes[WHOLE_ERRORS_MAX - 1] > 400_000);
        assert!(
            sizes[WHOLE_ERRORS_MAX..]
                .iter()
                .all(|size| *size < 3 * CUT_ERROR_BYTES)
        );
    }

    #[test]
    fn rendering_of_each_type() {
        let path = Path::new("spec").child("x").index(0).key("k");
        for (error, want) in [
            (Error::required(&path, ""), "spec.x[0][k]: Required value"),
            (
                Error::invalid(&path, "v", "why"),
                r#"spec.x[0][k]: Invalid value: "v": why"#,
            ),
            (
                Error::invalid(&path, 5, "why"),
                "spec.x[0][k]: Invalid value: 5: why",
            ),
            (Error::invalid(&path, &json!({"a": "<"}), ""), {
                "spec.x[0][k]: Invalid value: {\"a\":\"\\u003c\"}"
            }),
            (
                Error::invalid(&path, BadValue::null(), "w"),
                "spec.x[0][k]: Invalid value: null: w",
            ),
            (
                Error::invalid_omitted(&path, "why"),
                "spec.x[0][k]: Invalid value: why",
            ),
            (
                Error::not_supported(&path, "v", &["a", "b"]),
                r#"spec.x[0][k]: Unsupported value: "v": supported values: "a", "b""#,
            ),
            (
                Error::forbidden(&path, "why"),
                "spec.x[0][k]: Forbidden: why",
            ),
            (
                Error::too_long(&path, 1),
                "spec.x[0][k]: Too long: may not be more than 1 byte",
            ),
            (
                Error::too_many(&path, 5, 3),
                "spec.x[0][k]: Too many: 5: must have at most 3 items",
            ),
            (
                Error::duplicate(&path, "v"),
                r#"spec.x[0][k]: Duplicate value: "v""#,
            ),
            (
                Error::not_found(&path, "v"),
                r#"spec.x[0][k]: Not found: "v""#,
            ),
            (
                Error::internal(&path, "why"),
                "spec.x[0][k]: Internal error: why",
            ),
            (
                Error::type_invalid(&path, true, ""),
                "spec.x[0][k]: Invalid value: true",
            ),
        ] {
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn a_list_collapses_duplicates() {
        let a = Error::required(&Path::new("a"), "");
        let b = Error::required(&Path::new("b"), "");
        let mut list = ErrorList::from(a.clone());
        list.push(a);
        assert_eq!(list.to_string(), "a: Required value");
        list.push(b);
        assert_eq!(list.to_string(), "[a: Required value, b: Required value]");
    }

    #[test]
    fn paths() {
        assert_eq!(Path::nil().to_string(), "<nil>");
        assert_eq!(Path::nil().index(2).child("a").to_string(), "[2].a");
        assert_eq!(Path::new("a").child("").to_string(), "a[]");
    }
}

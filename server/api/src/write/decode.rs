//! From the body of a request to the tree of a write: format, syntax, kind, unknown fields.
//!
//! Start at [`decode_object`]. The order of the checks is what a client can tell from the errors:
//! media type, syntax, kind and version, types, then unknown and repeated fields as strictly as
//! the client asked for. The invariant: a tree that comes out of here names the kind and version
//! of the URL and has no field that its schema does not know (FV-01 to FV-12, ERR-36 to ERR-39).

use hanse_json::{Limits, Value, get_str, json};
use hanse_kinds::ResourceDef;
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_wire::options::FieldValidation;
use hanse_wire::protobuf;
use hanse_wire::status::{Result, Status};
use hanse_wire::warning::Warnings;

use crate::limits::STRICT_ERRORS_MAX;
use crate::verbs::patched;

/// Formats of a body that is an object.
const OBJECT_TYPES: [&str; 2] = ["application/json", "application/yaml"];
/// As they are listed to clients.
const OBJECT_TYPES_LISTED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
/// Bytes of a body that an error message shows.
const SUMMARY_BYTES_MAX: usize = 30;

/// The media type of a `Content-Type` header, without parameters; JSON when there is none.
#[must_use]
pub fn media_type(content_type: Option<&str>) -> &str {
    let media = content_type
        .and_then(|header| header.split(';').next())
        .unwrap_or_default()
        .trim();
    if media.is_empty() {
        "application/json"
    } else {
        media
    }
}

/// A body as a tree, with what strict decoding objects to in its syntax.
pub struct Raw {
    /// The tree.
    pub value: Value,
    /// One text for each field that stood twice.
    pub duplicates: Vec<String>,
}

/// Reads JSON or YAML, whichever `media` says.
///
/// # Errors
/// 415 for any other format; 400 for bad syntax, in terms of `kind`.
pub fn decode_raw(body: &[u8], media: &str, kind: &str) -> Result<Raw> {
    if media == protobuf::MEDIA_TYPE {
        let value =
            hanse_kinds::protobuf::decode(body).map_err(|why| unrecognized(kind, &why, body))?;
        return Ok(Raw {
            value,
            duplicates: Vec::new(),
        });
    }
    if !OBJECT_TYPES.contains(&media) {
        return Err(Status::unsupported_media_type(&OBJECT_TYPES_LISTED));
    }
    if media == "application/yaml" {
        let parsed = hanse_wire::yaml::parse(body).map_err(|e| {
            unrecognized(
                kind,
                &format!("couldn't get version/kind; yaml parse error: {e}"),
                body,
            )
        })?;
        return Ok(Raw {
            value: parsed.value,
            duplicates: parsed.duplicates,
        });
    }
    let parsed = hanse_json::parse(body, &Limits::default()).map_err(|e| {
        unrecognized(
            kind,
            &format!("couldn't get version/kind; json parse error: {e}"),
            body,
        )
    })?;
    let quote = |path: &String| format!("duplicate field {path:?}");
    Ok(Raw {
        value: parsed.value,
        duplicates: parsed.duplicates.iter().map(quote).collect(),
    })
}

fn unrecognized(kind: &str, why: &str, body: &[u8]) -> Box<Status> {
    if kind == "DeleteOptions" {
        // These are read by another decoder, which does not wrap its words.
        return Status::bad_request(why.to_owned());
    }
    let summary = summary(body);
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    ))
}

/// The first bytes of a body: as text when it looks like JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    let cut = &body[..body.len().min(SUMMARY_BYTES_MAX)];
    let more = if body.len() > SUMMARY_BYTES_MAX {
        " ..."
    } else {
        ""
    };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(cut)),
        Some(_) => {
            let hex: String = cut.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

/// The whole way from bytes to a tree of kind `def`.
///
/// # Errors
/// 415 and 400 as described above; under `Strict` also 400 for unknown and repeated fields.
pub fn decode_object(
    body: &[u8],
    content_type: Option<&str>,
    def: &ResourceDef,
    validation: FieldValidation,
    warnings: &mut Warnings,
) -> Result<Value> {
    let media = media_type(content_type);
    let typed = media == protobuf::MEDIA_TYPE;
    if typed && !def.flags.native {
        return Err(Status::unsupported_media_type(&OBJECT_TYPES_LISTED));
    }
    let raw = decode_raw(body, media, &def.kind)?;
    let mut value = raw.value;
    check_kind(&mut value, def, body)?;
    let unknown = def
        .schema
        .decode(&mut value)
        .map_err(|why| cannot_be_handled(def, &why))?;
    if typed {
        // Protobuf has no unknown fields: their numbers were passed over (FV-11).
        return Ok(value);
    }
    let problems = raw
        .duplicates
        .into_iter()
        .chain(unknown.iter().map(unknown_field));
    judge(problems, def, validation, warnings)?;
    Ok(value)
}

/// `unknown field "spec.a"`.
pub fn unknown_field(path: &String) -> String {
    format!("unknown field {path:?}")
}

/// Turns problems into warnings or, under `Strict`, into a 400.
///
/// # Errors
/// Under `Strict`, when there is any problem.
pub fn judge(
    problems: impl Iterator<Item = String>,
    def: &ResourceDef,
    validation: FieldValidation,
    warnings: &mut Warnings,
) -> Result<()> {
    let problems = problems.take(STRICT_ERRORS_MAX);
    match validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            problems.for_each(|problem| warnings.add(problem));
            Ok(())
        }
        FieldValidation::Strict => {
            let problems: Vec<String> = problems.collect();
            if problems.is_empty() {
                return Ok(());
            }
            let why = format!("strict decoding error: {}", problems.join(", "));
            Err(cannot_be_handled(def, &why))
        }
    }
}

/// 400: `KIND in version "V" cannot be handled as a KIND: why`.
pub fn cannot_be_handled(def: &ResourceDef, why: &str) -> Box<Status> {
    let (kind, version) = (&def.kind, def.version.as_str());
    let message = format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}");
    Status::bad_request(message)
}

/// What Go's JSON decoder calls the type of a value.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        other => hanse_json::type_name(other),
    }
}

fn no_type(found: &str) -> String {
    let fields = [("APIVersion", "apiVersion"), ("Kind", "kind")]
        .map(|(name, json)| format!("{name} string {:?}", format!("json:\"{json},omitempty\"")));
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go \
         value of type struct {{ {} }}",
        fields.join("; ")
    )
}

/// 400 for a body of a kind that is not the path's.
pub fn of_another_kind(value: &Value, def: &ResourceDef, why: &str) -> Box<Status> {
    let given = |field: &str| get_str(value, &[field]).unwrap_or_default();
    let (version, kind) = (given("apiVersion"), given("kind"));
    let version = version.rsplit('/').next().unwrap_or_default();
    Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {why}",
        def.kind
    ))
}

/// 422 for a custom resource that says it is something else, under the kind that it gives.
pub fn must_be(value: &Value, def: &ResourceDef, field: &str, expected: &str) -> Box<Status> {
    let text = |path: &[&str]| get_str(value, path).unwrap_or_default();
    let why = format!("must be {expected}");
    let error = FieldError::invalid(&Path::new(field), text(&[field]), why);
    let name = text(&["metadata", "name"]);
    Status::invalid(text(&["kind"]), &def.group, name, &ErrorList(vec![error]))
}

/// Makes sure that the tree says it is of the expected kind; native kinds may leave it out.
fn check_kind(value: &mut Value, def: &ResourceDef, body: &[u8]) -> Result<()> {
    if value.is_null() {
        *value = json!({});
    }
    let found = type_name(value);
    let Some(fields) = value.as_object_mut() else {
        return Err(unrecognized(&def.kind, &no_type(found), body));
    };
    let expected = [
        ("kind", def.kind.to_string()),
        ("apiVersion", def.api_version()),
    ];
    for (field, text) in expected {
        let given = fields.get(field);
        if given.is_some_and(|given| !given.is_string() && !given.is_null()) {
            let found = given.map_or("null", type_name);
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {found} \
                 into Go struct field .{field} of type string"
            );
            return Err(unrecognized(&def.kind, &why, body));
        }
        if !given.and_then(Value::as_str).unwrap_or_default().is_empty() {
            continue;
        }
        if !def.flags.native && field == "kind" {
            let text = String::from_utf8_lossy(body);
            let why = format!("Object 'Kind' is missing in '{text}'");
            return Err(unrecognized(&def.kind, &why, body));
        }
        if !def.flags.native {
            break;
        }
        fields.insert(field.to_owned(), text.into());
    }
    if def.flags.native {
        return patched::check_kind(def, value).map_err(|why| of_another_kind(value, def, &why));
    }
    let given = |field: &str| get_str(value, &[field]).unwrap_or_default();
    let (version, kind) = (given("apiVersion"), given("kind"));
    if version != def.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            def.api_version()
        )));
    }
    if kind != def.kind {
        return Err(must_be(value, def, "kind", &def.kind));
    }
    Ok(())
}

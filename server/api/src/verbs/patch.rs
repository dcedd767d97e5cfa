//! `patch`: JSON, merge and strategic merge patches, and server-side apply.
//!
//! Start at [`patch`]. A patch is a function of the stored object, so it is the same machinery as
//! an update, and lost races run it again. The invariant: what a patch makes must decode like a
//! body that a client sends (PAT-08, FV-09).

use hanse_apply::patch::{PatchError, json_patch, merge_patch, strategic_merge};
use hanse_json::{Limits, Value, get_str, json};
use hanse_kinds::ResourceDef;
use hanse_kinds::def::CompiledKind;
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_wire::negotiate::{Forms, PatchType, patch_type};
use hanse_wire::options::{FieldValidation, Write, WriteOptions};
use hanse_wire::status::{Result, Status};
use hanse_wire::warning::Warnings;
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::service::Inner;
use crate::verbs::patched::{check_kind, printed, shown};
use crate::write::change::{Changed, Made, change, nameless};
use crate::write::decode::{must_be, type_name, unknown_field};
use crate::write::insert::{Owners, insert};
use crate::write::strategic::merge_schema;
use crate::write::{Writing, Written, managed, meta_text, name_of, strip_cluster};

/// Fields of an operation of a JSON patch.
const OPERATION_FIELDS: [&str; 4] = ["op", "path", "from", "value"];

/// Answers a patch.
///
/// # Errors
/// 400 to 422, as they come from each step of the write; 415 for other patches than the four.
pub async fn patch(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
) -> Result<Answer> {
    let kind = patch_type(
        call.header(header::CONTENT_TYPE),
        target.def.flags.strategic_merge,
    )?;
    let options = WriteOptions::from_query(&call.query);
    let output = call.output(Forms::RESOURCE)?;
    options.validate(if kind == PatchType::Apply {
        Write::Apply
    } else {
        Write::Patch
    })?;
    let renderer = service.renderer(call, target, output)?;
    let writing = Writing::new(service, call, target, &options);
    if kind == PatchType::Apply {
        let (code, object) = apply(service, &writing, body).await?;
        return renderer.answer_written(code, object);
    }
    let patch = Patch::read(kind, body, options.field_validation())?;
    let make = |live: &Value| {
        let object = patch.run(&target.def, live, call)?;
        Ok(Made {
            object,
            owners: Owners::Untracked,
        })
    };
    match change(&writing, call.info.name, make).await? {
        Changed::To(object) => renderer.answer_written(200, object),
        Changed::Missing => Err(Status::not_found(&target.group_resource(), call.info.name)),
    }
}

/// A patch that has been read.
pub struct Patch {
    kind: PatchType,
    document: Value,
    validation: FieldValidation,
    problems: Vec<String>,
}

impl Patch {
    /// Reads a patch of one of the three kinds that are not apply.
    ///
    /// # Errors
    /// 400 for what is no JSON or not of the patch's form.
    pub fn read(kind: PatchType, body: &[u8], validation: FieldValidation) -> Result<Self> {
        // Who wants to know of unknown fields has the patch read by another decoder first.
        let told = validation != FieldValidation::Ignore && kind != PatchType::StrategicMerge;
        let prefix = if told { "error decoding patch: " } else { "" };
        let mut parsed = hanse_json::parse(body, &Limits::default())
            .map_err(|error| Status::bad_request(format!("{prefix}{error}")))?;
        match (kind, &parsed.value) {
            (PatchType::Json, Value::Array(operations)) => {
                let odd = operations.iter().find(|operation| !operation.is_object());
                if let Some(odd) = odd.filter(|_| told) {
                    let found = type_name(odd);
                    return Err(Status::bad_request(format!(
                        "{prefix}json: cannot unmarshal {found} into Go value of type \
                         handlers.jsonPatchOp"
                    )));
                }
            }
            (kind, Value::Object(_)) if kind != PatchType::Json => {}
            (PatchType::Json, Value::Null) => parsed.value = json!([]),
            (PatchType::StrategicMerge, Value::Null) => parsed.value = json!({}),
            (_, Value::Null) => return Err(Status::bad_request("Invalid JSON Patch")),
            (kind, found) => {
                let wanted = match kind {
                    PatchType::Json if told => "[]handlers.jsonPatchOp",
                    PatchType::Json => "jsonpatch.Patch",
                    _ => "map[string]interface {}",
                };
                let found = type_name(found);
                return Err(Status::bad_request(format!(
                    "{prefix}json: cannot unmarshal {found} into Go value of type {wanted}"
                )));
            }
        }
        let problems = problems(kind, &parsed.value, &parsed.duplicates);
        Ok(Self {
            kind,
            document: parsed.value,
            validation,
            problems,
        })
    }

    /// What strict decoding objects to, in the patch itself and in what it made, as the client
    /// wants it.
    ///
    /// # Errors
    /// Under `Strict` 422 with `shown`, when there is anything.
    pub fn judge(
        &self,
        unknown: &[String],
        shown: impl FnOnce() -> String,
        call: &Call<'_>,
    ) -> Result<()> {
        let unknown = unknown.iter().map(unknown_field);
        let all: Vec<String> = self.problems.iter().cloned().chain(unknown).collect();
        match self.validation {
            FieldValidation::Warn => all.into_iter().for_each(|problem| call.warn(problem)),
            FieldValidation::Strict if !all.is_empty() => {
                let why = format!("strict decoding error: {}", all.join(", "));
                return Err(invalid_patch(&shown(), &why));
            }
            FieldValidation::Strict | FieldValidation::Ignore => {}
        }
        Ok(())
    }

    /// What the patch makes of any document, without a look at its kind.
    ///
    /// # Errors
    /// 400, 413 and 422 for patches that do not fit.
    pub fn apply_to(&self, document: &Value) -> Result<Value> {
        match self.kind {
            PatchType::Json => json_patch(document, &self.document).map_err(patch_status),
            _ => Ok(merge_patch(document, &self.document)),
        }
    }

    /// The patched object.
    ///
    /// # Errors
    /// 400, 413 and 422 for patches that do not fit the object.
    pub fn run(&self, def: &ResourceDef, live: &Value, call: &Call<'_>) -> Result<Value> {
        let mut patched = match self.kind {
            PatchType::StrategicMerge => {
                strategic_merge(live, &self.document, &merge_schema(def)).map_err(patch_status)?
            }
            _ => self.apply_to(live)?,
        };
        let strategic = self.kind == PatchType::StrategicMerge;
        // What a strategic patch says of its own kind is not looked at, and what an object of
        // Kubernetes' own kinds does not say of it is taken from the path.
        for (field, known) in [
            ("apiVersion", def.api_version()),
            ("kind", def.kind.to_string()),
        ] {
            let unsaid = get_str(&patched, &[field]).unwrap_or_default().is_empty();
            if strategic || (def.flags.native && unsaid) {
                hanse_json::set(&mut patched, &[field], known.into());
            }
        }
        let refuse = |tree: &Value, why: &str| match strategic {
            true => invalid_patch(&printed(&self.document), why),
            false => invalid_patch(&shown(def, tree, self.touches_metadata()), why),
        };
        check_kind(def, &patched).map_err(|why| refuse(&patched, &why))?;
        if !def.flags.native {
            for (field, wanted) in [
                ("apiVersion", def.api_version()),
                ("kind", def.kind.to_string()),
            ] {
                if get_str(&patched, &[field]) != Some(&wanted) {
                    return Err(must_be(&patched, def, field, &wanted));
                }
            }
        }
        let given = patched.clone();
        let decode = match strategic {
            true => CompiledKind::convert,
            false => CompiledKind::decode,
        };
        let unknown = decode(&def.schema, &mut patched).map_err(|why| refuse(&given, &why))?;
        let shown = || match strategic {
            true => printed(&self.document),
            false => shown(def, &given, self.touches_metadata()),
        };
        self.judge(&unknown, shown, call)?;
        Ok(patched)
    }

    /// Whether the patch has something to say about the metadata.
    fn touches_metadata(&self) -> bool {
        match &self.document {
            Value::Array(operations) => operations.iter().any(|operation| {
                ["path", "from"].into_iter().any(|field| {
                    let path = get_str(operation, &[field]).unwrap_or_default();
                    path == "/metadata" || path.starts_with("/metadata/")
                })
            }),
            document => document.get("metadata").is_some(),
        }
    }
}

/// Repeated fields of a patch, and unknown fields of its operations.
fn problems(kind: PatchType, document: &Value, duplicates: &[String]) -> Vec<String> {
    let prefix = match kind {
        PatchType::Json => "json patch ",
        _ => "",
    };
    let mut problems: Vec<String> = duplicates
        .iter()
        .map(|path| format!("{prefix}duplicate field {path:?}"))
        .collect();
    for (at, operation) in document.as_array().into_iter().flatten().enumerate() {
        let fields = operation.as_object().into_iter().flatten();
        for (field, _) in fields.filter(|(f, _)| !OPERATION_FIELDS.contains(&f.as_str())) {
            problems.push(format!("json patch unknown field \"[{at}].{field}\""));
        }
    }
    problems
}

/// 422 as Kubernetes has it for a patch whose result cannot be: about no kind and no name.
fn invalid_patch(value: &str, why: &str) -> Box<Status> {
    let error = FieldError::invalid(&Path::new("patch"), value, why);
    Status::invalid("", "", "", &ErrorList(vec![error]))
}

fn patch_status(error: PatchError) -> Box<Status> {
    match error {
        PatchError::Malformed(why) => Status::bad_request(why),
        PatchError::TooLarge(why) => Status::request_entity_too_large(why),
        PatchError::Unprocessable(why) => {
            Status::generic_server_response(422, "", &Default::default(), "", &why)
        }
    }
}

/// Server-side apply: the code of the answer and the object.
async fn apply(service: &Inner, w: &Writing<'_>, body: &[u8]) -> Result<(u16, Written)> {
    let (call, target) = (w.call, w.target);
    let name = call.info.name;
    let config = applied_config(w, body)?;
    let make = |live: &Value| {
        if let Some(version) = meta_text(&config, "resourceVersion")
            && Some(version) != meta_text(live, "resourceVersion")
        {
            return Err(Status::modified(&target.group_resource(), name));
        }
        let mut live = live.clone();
        strip_cluster(&mut live);
        let object = managed::apply(w, Some(&live), &config)?;
        Ok(Made {
            object,
            owners: Owners::Tracked,
        })
    };
    if let Changed::To(object) = change(w, name, make).await? {
        return Ok((200, object));
    }
    if !call.info.subresource.is_empty() {
        return Err(Status::not_found(&target.group_resource(), name));
    }
    if let Some(uid) = meta_text(&config, "uid") {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was \
             found"
        );
        return Err(Status::conflict(&target.group_resource(), name, &why));
    }
    service.authorize_create(call, target)?;
    let object = managed::apply(w, None, &config)?;
    if name_of(&object).is_empty() {
        return Err(nameless(name));
    }
    Ok((201, insert(w, object, Owners::Tracked).await?))
}

/// The applied configuration: YAML or JSON, of the right kind and name.
fn applied_config(w: &Writing<'_>, body: &[u8]) -> Result<Value> {
    let (call, def) = (w.call, &w.target.def);
    let parsed = hanse_wire::yaml::parse(body)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    let mut config = parsed.value;
    if config.is_null() {
        config = json!({});
    }
    if !config.is_object() {
        return Err(Status::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot \
             unmarshal {} into Go value of type map[string]interface {{}}",
            type_name(&config)
        )));
    }
    if !parsed.duplicates.is_empty() {
        match w.options.field_validation() {
            FieldValidation::Strict => {
                let why = parsed.duplicates.join(", ");
                return Err(Status::bad_request(format!(
                    "error strict decoding YAML: {why}"
                )));
            }
            FieldValidation::Warn => {
                let mut warnings: parking_lot::MutexGuard<'_, Warnings> = call.warnings.lock();
                parsed
                    .duplicates
                    .into_iter()
                    .for_each(|text| warnings.add(text));
            }
            FieldValidation::Ignore => {}
        }
    }
    let given = |field: &str| get_str(&config, &[field]).unwrap_or_default();
    let (api_version, kind) = (given("apiVersion"), given("kind"));
    if api_version != def.api_version() || kind != def.kind {
        let group = if api_version.contains('/') { "" } else { "/" };
        return Err(Status::bad_request(format!(
            "invalid object type: {group}{api_version}, Kind={kind}"
        )));
    }
    let managed = config
        .get("metadata")
        .and_then(|meta| meta.get("managedFields"));
    if managed.is_some_and(|fields| !fields.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let given = name_of(&config);
    if !given.is_empty() && given != call.info.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            call.info.name
        )));
    }
    strip_cluster(&mut config);
    Ok(config)
}

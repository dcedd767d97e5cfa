//! `scale`: the number of replicas of any kind that says where it has them.
//!
//! Start at [`answer`]. A Scale is a view of the object: reading makes it, writing puts its
//! replicas back through the same machinery as any update, so generation, ownership and races are
//! as for the object itself (SUB-20 to SUB-26).

use hanse_json::{Value, get, get_i64, get_str, json, set};
use hanse_kinds::{ResourceDef, ScalePaths};
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_wire::gvk::SmolStr;
use hanse_wire::negotiate::{Forms, PatchType, patch_type};
use hanse_wire::options::{Write, WriteOptions};
use hanse_wire::status::{Result, Status};
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::info::Verb;
use crate::render::answer_document;
use crate::service::Inner;
use crate::verbs::patch::Patch;
use crate::write::change::{Changed, Made, change};
use crate::write::decode::{decode_raw, media_type};
use crate::write::insert::Owners;
use crate::write::{Writing, live_tree, meta_text};

/// Answers get, update and patch of a scale.
///
/// # Errors
/// 400 to 422 as for any update; 500 when the object has no replicas.
pub async fn answer(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    paths: &ScalePaths,
    body: &[u8],
) -> Result<Answer> {
    let output = call.output(Forms::PLAIN)?;
    let name = call.info.name;
    let object = match call.info.verb {
        Verb::Get => {
            let found = service.hub.get(&target.key(call, name)?);
            let missing = || Status::not_found(&target.group_resource(), name);
            live_tree(target, &found.ok_or_else(missing)?)
        }
        verb => write(service, call, target, paths, body, verb).await?,
    };
    let scale = scale_of(&object, paths)?;
    Ok(answer_document(200, &scale, &output))
}

async fn write(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    paths: &ScalePaths,
    body: &[u8],
    verb: Verb,
) -> Result<Value> {
    let options = WriteOptions::from_query(&call.query);
    let content_type = call.header(header::CONTENT_TYPE);
    let source = if verb == Verb::Update {
        options.validate(Write::Update)?;
        Source::Scale(decode_raw(body, media_type(content_type), "Scale")?.value)
    } else {
        let kind = patch_type(content_type, false)?;
        if kind == PatchType::Apply {
            let accepted = [
                "application/json-patch+json",
                "application/merge-patch+json",
            ];
            return Err(Status::unsupported_media_type(&accepted));
        }
        options.validate(Write::Patch)?;
        Source::Patch(Patch::read(kind, body, options.field_validation())?)
    };
    let writing = Writing::new(service, call, target, &options);
    let make = |live: &Value| {
        let scale = match &source {
            Source::Scale(scale) => scale.clone(),
            Source::Patch(patch) => {
                let replicas = replicas_of(live, paths).unwrap_or(0);
                let scale = patch.apply_to(&scale_with(live, paths, replicas))?;
                patch.judge(&[], || hanse_json::to_string(&scale), call)?;
                scale
            }
        };
        let object = with_replicas(&target.def, live, &scale, paths)?;
        Ok(Made {
            object,
            owners: Owners::Untracked,
        })
    };
    match change(&writing, call.info.name, make).await? {
        Changed::To(object) => Ok(object.into_tree(target)),
        Changed::Missing => Err(Status::not_found(&target.group_resource(), call.info.name)),
    }
}

/// Where a new scale comes from.
enum Source {
    /// It was sent.
    Scale(Value),
    /// A patch of the present one was sent.
    Patch(Patch),
}

fn at<'v>(object: &'v Value, path: &[SmolStr]) -> Option<&'v Value> {
    let path: Vec<&str> = path.iter().map(SmolStr::as_str).collect();
    get(object, &path)
}

/// The Scale of an object.
fn scale_of(object: &Value, paths: &ScalePaths) -> Result<Value> {
    let Some(replicas) = replicas_of(object, paths) else {
        let path = paths.spec_replicas.join(".");
        let why = format!("the spec replicas field \".{path}\" does not exist");
        return Err(Status::internal(why));
    };
    Ok(scale_with(object, paths, replicas))
}

fn replicas_of(object: &Value, paths: &ScalePaths) -> Option<i64> {
    at(object, &paths.spec_replicas).and_then(Value::as_i64)
}

/// The Scale of an object with so many replicas.
fn scale_with(object: &Value, paths: &ScalePaths, replicas: i64) -> Value {
    let mut scale = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {},
        "spec": {"replicas": replicas},
        "status": {
            "replicas": at(object, &paths.status_replicas).and_then(Value::as_i64).unwrap_or(0),
        },
    });
    let selector = paths
        .label_selector
        .as_ref()
        .and_then(|path| at(object, path));
    if let Some(selector) = selector.and_then(Value::as_str) {
        scale["status"]["selector"] = selector.into();
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = get(object, &["metadata", field]) {
            scale["metadata"][field] = value.clone();
        }
    }
    scale
}

/// The object with the replicas of a scale.
fn with_replicas(
    def: &ResourceDef,
    live: &Value,
    scale: &Value,
    paths: &ScalePaths,
) -> Result<Value> {
    let given = |field: &str| get_str(scale, &[field]).unwrap_or_default();
    if (given("apiVersion"), given("kind")) != ("autoscaling/v1", "Scale") {
        let why = format!("wrong object passed to Scale update: {}", given("kind"));
        return Err(Status::bad_request(why));
    }
    let Some(replicas) =
        get_i64(scale, &["spec", "replicas"]).or_else(|| get(scale, &["spec"]).map(|_| 0))
    else {
        return Err(Status::bad_request("invalid scale update: spec is missing"));
    };
    if replicas < 0 {
        let path = Path::new("spec").child("replicas");
        let why = "must be greater than or equal to 0";
        let errors = ErrorList(vec![FieldError::invalid(&path, replicas, why)]);
        let name = meta_text(live, "name").unwrap_or_default();
        return Err(Status::invalid("Scale", "autoscaling", name, &errors));
    }
    let mut object = live.clone();
    let path: Vec<&str> = paths.spec_replicas.iter().map(SmolStr::as_str).collect();
    set(&mut object, &path, replicas.into());
    if let Some(version) = meta_text(scale, "resourceVersion") {
        set(
            &mut object,
            &["metadata", "resourceVersion"],
            version.into(),
        );
    }
    if let Some(uid) = meta_text(scale, "uid") {
        set(&mut object, &["metadata", "uid"], uid.into());
    }
    debug_assert_eq!(get_str(&object, &["kind"]), Some(def.kind.as_str()));
    Ok(object)
}

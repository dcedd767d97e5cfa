//! `serviceaccounts/NAME/token`: tokens on request; `manifests/NAME/token`: tokens of the
//! ServiceAccounts that a Manifest names, for Pods at a site.
//!
//! Start at [`create`]. A token is bound to the account's uid and, if asked, to a Secret's; it is
//! good as long as both exist, which is looked up on each use in `hanse-auth` (SA-02 to SA-07).

use hanse_apis::sites::{Access, Source};
use hanse_auth::token::{Private, Reference, Wanted};
use hanse_cache::Object;
use hanse_json::{Value, get, get_array, get_i64, get_str, json, set};
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_wire::gvk::GroupResource;
use hanse_wire::negotiate::Forms;
use hanse_wire::options::{Write, WriteOptions};
use hanse_wire::status::{Result, Status};
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::render::answer_document;
use crate::service::Inner;
use crate::write::decode::{decode_raw, media_type};
use crate::write::{Writing, managed, meta_text};

/// Life of a token whose request does not say.
const SECONDS_DEFAULT: i64 = 3_600;
/// Shortest life of a token.
const SECONDS_MIN: i64 = 600;
/// Longest life of a token that may be asked for.
const SECONDS_MAX: i64 = 1 << 32;

/// Answers a TokenRequest.
///
/// # Errors
/// 400, 404, 409 and 422 as Kubernetes has them.
pub fn create(service: &Inner, call: &Call<'_>, target: &Target, body: &[u8]) -> Result<Answer> {
    let output = call.output(Forms::PLAIN)?;
    let options = WriteOptions::from_query(&call.query);
    options.validate(Write::Create)?;
    let media = media_type(call.header(header::CONTENT_TYPE));
    let mut request = decode_raw(body, media, "TokenRequest")?.value;
    if get_str(&request, &["kind"]).is_some_and(|kind| kind != "TokenRequest") {
        return Err(Status::bad_request("the body must be a TokenRequest"));
    }
    let key = target.key(call, call.info.name)?;
    let missing = || Status::not_found(&target.group_resource(), call.info.name);
    let named = service.hub.get(&key).ok_or_else(missing)?;
    let account = match hanse_apis::sites::mints(&target.def.group, &target.def.plural) {
        true => of_manifest(service, &named, &request)?,
        false => named,
    };
    identify(&request, &account)?;
    let key = account.key().clone();
    let seconds = get_i64(&request, &["spec", "expirationSeconds"]).unwrap_or(SECONDS_DEFAULT);
    judge(seconds)?;
    let secret = bound_secret(service, call, &request)?;
    let mut audiences: Vec<String> = get_array(&request, &["spec", "audiences"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences = service.authenticator.audiences().to_vec();
    }
    let writing = Writing::new(service, call, target, &options);
    managed::track_untyped(&writing, "authentication.k8s.io/v1", &mut request);
    let now = service.seams.clock.wall().as_secs();
    let life = seconds.unsigned_abs();
    let token = service.authenticator.signer().mint(Wanted {
        account: Private {
            cluster: key.cluster.to_string(),
            namespace: key.namespace.to_string(),
            secret,
            serviceaccount: reference(&account),
        },
        audiences: audiences.clone(),
        seconds: life,
        now,
        id: service.seams.rng.uuid_v4(),
    });
    let token = token.map_err(Status::internal)?;
    let ends = i64::try_from((now + life) * 1_000_000).unwrap_or(i64::MAX);
    let bound = get(&request, &["spec", "boundObjectRef"])
        .cloned()
        .unwrap_or_default();
    set(&mut request, &["spec", "boundObjectRef"], bound);
    set(&mut request, &["spec", "audiences"], audiences.into());
    set(&mut request, &["spec", "expirationSeconds"], seconds.into());
    for (field, value) in [
        ("name", &*key.name),
        ("namespace", &*key.namespace),
        ("uid", account.uid()),
        ("creationTimestamp", &writing.now),
    ] {
        set(&mut request, &["metadata", field], value.into());
    }
    let status = json!({"token": token, "expirationTimestamp": hanse_wire::time::format(ends)});
    set(&mut request, &["status"], status);
    set(
        &mut request,
        &["apiVersion"],
        "authentication.k8s.io/v1".into(),
    );
    set(&mut request, &["kind"], "TokenRequest".into());
    Ok(answer_document(201, &request, &output))
}

/// The account of a Manifest's source that the request names: one of those that the Manifest
/// gives its Pods, and no other.
fn of_manifest(service: &Inner, manifest: &Object, request: &Value) -> Result<Object> {
    let read = |path: &[&str]| manifest.raw(path);
    let source: Option<Source> =
        read(&["spec", "source"]).and_then(|raw| serde_json::from_slice(raw).ok());
    let access: Option<Access> =
        read(&["spec", "access"]).and_then(|raw| serde_json::from_slice(raw).ok());
    let (source, access) = (source.unwrap_or_default(), access.unwrap_or_default());
    let name = meta_text(request, "name").unwrap_or_default();
    let resource = GroupResource::new("", "serviceaccounts");
    if manifest.is_deleting() || !access.accounts.iter().any(|account| account == name) {
        let why = format!(
            "Manifest {} names no such ServiceAccount",
            manifest.key().name
        );
        return Err(Status::forbidden(&resource, name, &why));
    }
    let seconds = get_i64(request, &["spec", "expirationSeconds"]).unwrap_or(SECONDS_DEFAULT);
    let audiences = get_array(request, &["spec", "audiences"]);
    let own: Vec<&str> = Some(access.audience.as_str())
        .into_iter()
        .filter(|a| !a.is_empty())
        .collect();
    let given: Vec<&str> = audiences.iter().filter_map(Value::as_str).collect();
    if seconds > access.seconds || given != own {
        let why = "the token is to live longer, or for another audience, than the Manifest says";
        return Err(Status::forbidden(&resource, name, why));
    }
    let view = service.authorizer.view();
    let of = &view.resources().service_accounts;
    let found = view.get(of, &source.cluster, &source.namespace, name);
    found.ok_or_else(|| Status::not_found(&resource, name))
}

fn reference(object: &Object) -> Reference {
    Reference {
        name: object.key().name.to_string(),
        uid: object.uid().to_owned(),
    }
}

/// The request may repeat the account's name, namespace and uid, but not name another.
fn identify(request: &Value, account: &Object) -> Result<()> {
    let key = account.key();
    for (field, own) in [("name", &key.name), ("namespace", &key.namespace)] {
        if meta_text(request, field).is_some_and(|given| given != &**own) {
            let why = format!("must match the service account {field} if specified");
            return Err(Status::bad_request(format!("metadata.{field}: {why}")));
        }
    }
    if let Some(uid) = meta_text(request, "uid").filter(|uid| *uid != account.uid()) {
        let why = format!(
            "the UID in the token request ({uid}) does not match the UID of the service account \
             ({})",
            account.uid()
        );
        let resource = GroupResource::new("", "serviceaccounts");
        return Err(Status::conflict(&resource, &key.name, &why));
    }
    Ok(())
}

fn judge(seconds: i64) -> Result<()> {
    let path = Path::new("spec").child("expirationSeconds");
    let why = if seconds < SECONDS_MIN {
        "may not specify a duration less than 10 minutes"
    } else if seconds > SECONDS_MAX {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let errors = ErrorList(vec![FieldError::invalid(&path, seconds, why)]);
    Err(Status::invalid(
        "TokenRequest",
        "authentication.k8s.io",
        "",
        &errors,
    ))
}

/// The Secret that the token is to be bound to.
fn bound_secret(service: &Inner, call: &Call<'_>, request: &Value) -> Result<Option<Reference>> {
    let text =
        |field: &str| get_str(request, &["spec", "boundObjectRef", field]).unwrap_or_default();
    let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    if get(request, &["spec", "boundObjectRef"]).is_none_or(Value::is_null) {
        return Ok(None);
    }
    if (version, kind) != ("v1", "Secret") {
        return Err(Status::bad_request(format!(
            "cannot bind token to object of type {version}, Kind={kind}"
        )));
    }
    let view = service.authorizer.view();
    let cluster = call.cluster.as_deref().unwrap_or_default();
    let secrets = &view.resources().secrets;
    let found = view.get(secrets, cluster, call.info.namespace, name);
    let resource = GroupResource::new("", "secrets");
    let secret = found.ok_or_else(|| Status::not_found(&resource, name))?;
    let uid = text("uid");
    if !uid.is_empty() && uid != secret.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&resource, name, &why));
    }
    Ok(Some(reference(&secret)))
}

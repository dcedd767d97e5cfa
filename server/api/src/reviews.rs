//! Review kinds: creations that are answered and not stored.
//!
//! Start at [`answer`]; each review is a function from the decoded object to its status. What is
//! asked goes through the same authorizer as the requests themselves, so `can-i` never says
//! anything else than the server does (kcp-api 4.3, kubernetes-api SAR-01 to SAR-08).

use hanse_apis::sites::{self, COMPARISONS, PLANS};
use hanse_auth::{Attributes, Decision, UserInfo};
use hanse_cache::{ObjectKey, ResourceId};
use hanse_json::{Map, Value, get, get_array, get_object, get_str, json, set};
use hanse_schema::field::{BadValue, Error as FieldError, ErrorList, Path};
use hanse_sites::{PlanError, Question};
use hanse_wire::status::{Result, Status};

use crate::trace::user_json;
use crate::write::{Writing, managed};

/// Header by which the server's own masters ask past the workspace's content rules.
const DEEP: &str = "x-kcp-internal-deep-subjectaccessreview";

/// Answers a review: the object with its status.
///
/// # Errors
/// 400 and 422 for reviews that ask nothing.
pub fn answer(w: &Writing<'_>, mut review: Value) -> Result<Value> {
    managed::track(w, None, &mut review);
    let kind = w.target.def.kind.as_str();
    match kind {
        "SelfSubjectReview" => {
            let info = user_json(&w.call.user);
            set(
                &mut review,
                &["metadata", "creationTimestamp"],
                w.now.as_str().into(),
            );
            set(&mut review, &["status"], json!({"userInfo": info}));
        }
        "TokenReview" => {
            let status = token_review(w, &review)?;
            set(&mut review, &["status"], status);
        }
        "SelfSubjectRulesReview" => {
            let status = rules_review(w, &review)?;
            set(&mut review, &["status"], status);
            set(&mut review, &["spec"], json!({}));
            set(&mut review, &["metadata"], json!({}));
        }
        _ if is_sites(w, PLANS) => {
            let status = plan(w, &review)?;
            set(&mut review, &["status"], status);
            set(&mut review, &["spec"], json!({}));
        }
        _ if is_sites(w, COMPARISONS) => {
            let status = comparison(w, &review)?;
            set(&mut review, &["status"], status);
            set(&mut review, &["spec"], json!({"buckets": []}));
        }
        _ => {
            let status = access_review(w, &review, kind)?;
            set(&mut review, &["status"], status);
        }
    }
    Ok(review)
}

fn is_sites(w: &Writing<'_>, plural: &str) -> bool {
    w.target.def.group == sites::GROUP && w.target.def.plural == plural
}

/// What would change if the objects of a Plan were written.
fn plan(w: &Writing<'_>, review: &Value) -> Result<Value> {
    let unknown = || Status::bad_request("nothing is planned here");
    let sites = w.service.sites.as_ref().ok_or_else(unknown)?;
    let cluster = w.call.cluster.as_ref().ok_or_else(unknown)?;
    let surface = w.service.catalog.surface(cluster);
    let mut supposed = Vec::new();
    for (index, object) in get_array(review, &["spec", "objects"]).iter().enumerate() {
        let text = |path: &[&str]| get_str(object, path).unwrap_or_default();
        let (version, kind) = (text(&["apiVersion"]), text(&["kind"]));
        let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
        let row = surface
            .rows()
            .iter()
            .find(|row| row.group == group && row.kind == kind && !row.flags.review);
        let (Some(row), name) = (row, text(&["metadata", "name"])) else {
            let path = Path::new("spec").child("objects").index(index);
            let value = format!("{version} {kind}");
            let errors = [FieldError::invalid(&path, value, "is not served here")];
            let errors = ErrorList::from_iter(errors);
            return Err(Status::invalid("Plan", sites::GROUP, "", &errors));
        };
        let of = ResourceId::new(
            &row.storage.group,
            &row.storage.resource,
            &row.storage.identity,
        );
        let namespace = match row.namespaced {
            true => text(&["metadata", "namespace"]),
            false => "",
        };
        let key = ObjectKey::new(&of, cluster, namespace, name);
        supposed.push((key, object.clone()));
    }
    let question = Question {
        cluster,
        user: &w.call.user,
        supposed: &supposed,
        without: &texts(review, &["spec", "without"]),
    };
    match sites.plan(&question) {
        Ok(status) => Ok(json!(status)),
        Err(PlanError::NotAnObject) => Err(Status::bad_request("an object has no name")),
        Err(PlanError::Busy) => Err(Status::too_many_requests("too much is being written", 1)),
    }
}

/// How a syncer's tree differs from what its inbox holds.
fn comparison(w: &Writing<'_>, review: &Value) -> Result<Value> {
    let unknown = || Status::bad_request("nothing is compared here");
    let sites = w.service.sites.as_ref().ok_or_else(unknown)?;
    let cluster = w.call.cluster.as_ref().ok_or_else(unknown)?;
    let buckets = texts(review, &["spec", "buckets"]);
    let status = sites.compare(cluster, &buckets);
    let status = status.map_err(|error| Status::internal(error.to_string()))?;
    Ok(json!(status))
}

fn token_review(w: &Writing<'_>, review: &Value) -> Result<Value> {
    let token = get_str(review, &["spec", "token"]).unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let asked: Vec<String> = texts(review, &["spec", "audiences"]);
    let authenticator = &w.service.authenticator;
    let audiences = if asked.is_empty() {
        authenticator.audiences()
    } else {
        asked.as_slice()
    };
    Ok(match authenticator.token_user(token, audiences) {
        Ok((user, good)) => {
            json!({"authenticated": true, "user": user_json(&user), "audiences": good})
        }
        Err(_) => json!({"error": "invalid bearer token", "user": {}}),
    })
}

fn rules_review(w: &Writing<'_>, review: &Value) -> Result<Value> {
    let namespace = get_str(review, &["spec", "namespace"]).unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let cluster = w.call.cluster.as_deref().unwrap_or_default();
    Ok(hanse_auth::review::rules(
        &w.service.authorizer,
        &w.call.user,
        cluster,
        namespace,
    ))
}

fn access_review(w: &Writing<'_>, review: &Value, kind: &str) -> Result<Value> {
    let own = kind == "SelfSubjectAccessReview";
    judge(w, review, own, kind)?;
    let user = if own {
        w.call.user.clone()
    } else {
        reviewed_user(review)
    };
    let text = |path: [&str; 2]| get_str(review, &["spec", path[0], path[1]]).unwrap_or_default();
    let resource = |field| text(["resourceAttributes", field]);
    let want = match get_object(review, &["spec", "resourceAttributes"]) {
        Some(_) => Attributes {
            user: &user,
            verb: resource("verb"),
            group: resource("group"),
            version: resource("version"),
            resource: resource("resource"),
            subresource: resource("subresource"),
            namespace: resource("namespace"),
            name: resource("name"),
            path: "",
            is_resource: true,
        },
        None => Attributes::url(
            &user,
            text(["nonResourceAttributes", "verb"]),
            text(["nonResourceAttributes", "path"]),
        ),
    };
    let decision = decide(w, &want);
    let mut status = json!({"allowed": decision.allowed});
    if decision.denied {
        status["denied"] = true.into();
    }
    let reason = if decision.allowed {
        decision.reason
    } else {
        String::new()
    };
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

fn decide(w: &Writing<'_>, want: &Attributes<'_>) -> Decision {
    let authorizer = &w.service.authorizer;
    let deep = w.call.user.is_master()
        && w.call
            .headers
            .get(DEEP)
            .is_some_and(|value| value == "true");
    match (&w.call.cluster, deep) {
        (Some(cluster), true) => authorizer.authorize_deep(want, cluster),
        (cluster, _) => authorizer.authorize(want, cluster.as_deref()),
    }
}

fn judge(w: &Writing<'_>, review: &Value, own: bool, kind: &str) -> Result<()> {
    let has = |field: &str| get_object(review, &["spec", field]).is_some();
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    if has("resourceAttributes") == has("nonResourceAttributes") {
        let both = has("resourceAttributes");
        let field = if both {
            "nonResourceAttributes"
        } else {
            "resourceAttributes"
        };
        let why = if both {
            "cannot be specified in combination with resourceAttributes"
        } else {
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        };
        let value = match both {
            true => url_attributes(review),
            false => BadValue::null(),
        };
        errors.push(FieldError::invalid(&path.child(field), value, why));
    }
    let local = kind == "LocalSubjectAccessReview";
    if local && errors.is_empty() && has("nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        let path = path.child("nonResourceAttributes");
        errors.push(FieldError::invalid(&path, url_attributes(review), why));
    }
    let namespace = w.call.info.namespace;
    let asked = get_str(review, &["spec", "resourceAttributes", "namespace"]);
    if local && has("resourceAttributes") && asked != Some(namespace) {
        let path = path.child("resourceAttributes").child("namespace");
        let why = "must match metadata.namespace";
        errors.push(FieldError::invalid(&path, asked.unwrap_or_default(), why));
    }
    let named = get_str(review, &["spec", "user"]).is_some_and(|user| !user.is_empty())
        || !get_array(review, &["spec", "groups"]).is_empty();
    if !own && !named {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&path.child("user"), "", why));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", &w.target.def.group, "", &errors));
    }
    Ok(())
}

/// The attributes of a path as Go prints them.
fn url_attributes(review: &Value) -> BadValue {
    let text = |field| get_str(review, &["spec", "nonResourceAttributes", field]);
    let value = json!({
        "Path": text("path").unwrap_or_default(),
        "Verb": text("verb").unwrap_or_default(),
    });
    BadValue::Json(hanse_json::to_string(&value))
}

fn reviewed_user(review: &Value) -> UserInfo {
    let text = |field: &str| {
        get_str(review, &["spec", field])
            .unwrap_or_default()
            .to_owned()
    };
    let empty = Map::new();
    let extra = get(review, &["spec", "extra"])
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    UserInfo {
        name: text("user"),
        uid: text("uid"),
        groups: texts(review, &["spec", "groups"]),
        extra: extra
            .iter()
            .map(|(key, values)| (key.clone(), texts(values, &[])))
            .collect(),
    }
}

fn texts(value: &Value, path: &[&str]) -> Vec<String> {
    get_array(value, path)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

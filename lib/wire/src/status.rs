//! `Status`: the shape of every failure, and of deletions that succeed.
//!
//! Start at [`Status`]; there is one constructor for every way to fail that Kubernetes knows, and
//! each makes the code, the reason, the details and the exact message together, because clients
//! branch on all four. Errors that are none of these are [`Status::plain`].
//!
//! Invariant: `from_json(to_json(s)) == s`. Which failure fits a situation is the caller's choice.

use std::collections::BTreeSet;
use std::fmt;

use hanse_json::go::quote;
use hanse_json::{Value, get, get_array, get_i64, get_str, json};
use hanse_schema::field::{Error as FieldError, ErrorList};

use crate::gvk::{GroupKind, GroupResource, SmolStr};

/// What most of our functions that serve a client return.
pub type Result<T> = std::result::Result<T, Box<Status>>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The machine-readable name of a failure. Clients branch on it before the code.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub enum Reason {
            /// No reason: the server cannot say.
            #[default]
            Unknown,
            $($(#[$doc])* $name,)*
            /// A reason from elsewhere, such as a webhook.
            Other(SmolStr),
        }

        impl Reason {
            /// As on the wire; empty for [`Reason::Unknown`].
            pub fn as_str(&self) -> &str {
                match self {
                    Reason::Unknown => "",
                    $(Reason::$name => stringify!($name),)*
                    Reason::Other(text) => text,
                }
            }
        }

        impl From<&str> for Reason {
            fn from(text: &str) -> Self {
                match text {
                    "" => Reason::Unknown,
                    $(stringify!($name) => Reason::$name,)*
                    _ => Reason::Other(text.into()),
                }
            }
        }
    };
}

reasons! {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409: the name is taken.
    AlreadyExists,
    /// 409: the object is not as the client thought.
    Conflict,
    /// 410: not used by Kubernetes any more.
    Gone,
    /// 422.
    Invalid,
    /// 500: try again.
    ServerTimeout,
    /// 504.
    Timeout,
    /// 429.
    TooManyRequests,
    /// 400.
    BadRequest,
    /// 405.
    MethodNotAllowed,
    /// 406.
    NotAcceptable,
    /// 413.
    RequestEntityTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 500.
    InternalError,
    /// 410: the version or continue token is too old.
    Expired,
    /// 503.
    ServiceUnavailable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of several causes of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Such as `FieldValueInvalid`; may be empty.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The path of the field, if the cause is one.
    pub field: String,
}

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Cause {
            reason: error.cause_reason().to_owned(),
            message: error.body(),
            field: error.field.clone(),
        }
    }
}

/// What a failure is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: SmolStr,
    /// The group of the resource or kind.
    pub group: SmolStr,
    /// The plural resource in most failures, the kind in [`Status::invalid`].
    pub kind: SmolStr,
    /// The object's uid.
    pub uid: SmolStr,
    /// More precise causes.
    pub causes: Vec<Cause>,
    /// When to try again; 0 says nothing.
    pub retry_after_seconds: u32,
}

/// An answer that is no object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it is good news; only deletions answer so.
    pub success: bool,
    /// The HTTP status code.
    pub code: u16,
    /// For machines.
    pub reason: Reason,
    /// For people, though machines read it as well.
    pub message: String,
    /// What it is about. `Some` with nothing in it is sent as `{}`.
    pub details: Option<Details>,
    /// For an expired list: the token that goes on at the current state.
    pub continue_token: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

fn failure(
    code: u16,
    reason: Reason,
    message: impl Into<String>,
    details: Option<Details>,
) -> Box<Status> {
    Box::new(Status {
        code,
        reason,
        message: message.into(),
        details,
        ..Status::default()
    })
}

fn about(resource: &GroupResource, name: &str) -> Details {
    Details {
        group: resource.group.clone(),
        kind: resource.resource.clone(),
        name: name.into(),
        ..Details::default()
    }
}

fn cause(reason: &str, message: impl Into<String>) -> Cause {
    Cause {
        reason: reason.to_owned(),
        message: message.into(),
        field: String::new(),
    }
}

/// Which permission was missing: the parts of the message of a 403.
#[derive(Clone, Copy, Debug, Default)]
pub struct Denied<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The verb, such as `list`.
    pub verb: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    /// The plural name; empty for a request that is not about a resource.
    pub resource: &'a str,
    /// Empty for the resource itself.
    pub subresource: &'a str,
    /// Empty for the whole cluster.
    pub namespace: &'a str,
    /// Empty for a collection.
    pub name: &'a str,
    /// The path of a request that is not about a resource.
    pub path: &'a str,
    /// What the authorizer says; may be empty.
    pub reason: &'a str,
}

impl Denied<'_> {
    fn message(&self) -> String {
        let (user, verb) = (quote(self.user), self.verb);
        if self.resource.is_empty() {
            return format!("User {user} cannot {verb} path {}", quote(self.path));
        }
        let resource = match self.subresource {
            "" => quote(self.resource),
            subresource => quote(&format!("{}/{subresource}", self.resource)),
        };
        let scope = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {}", quote(namespace)),
        };
        let group = quote(self.group);
        format!("User {user} cannot {verb} resource {resource} in API group {group} {scope}")
    }
}

impl Status {
    /// 404: `configmaps "x" not found`.
    pub fn not_found(resource: &GroupResource, name: &str) -> Box<Status> {
        let message = format!("{resource} {} not found", quote(name));
        failure(404, Reason::NotFound, message, Some(about(resource, name)))
    }

    /// 409: `configmaps "x" already exists`.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Box<Status> {
        let message = format!("{resource} {} already exists", quote(name));
        failure(
            409,
            Reason::AlreadyExists,
            message,
            Some(about(resource, name)),
        )
    }

    /// 409 for a name that is taken by an object on its way out.
    pub fn already_exists_deleting(resource: &GroupResource, name: &str) -> Box<Status> {
        let mut status = Status::already_exists(resource, name);
        status.message.insert_str(0, "object is being deleted: ");
        status
    }

    /// 409 when `generateName` found no free name.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str) -> Box<Status> {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for \
             the object",
            quote(name)
        );
        let mut details = about(resource, name);
        details.retry_after_seconds = 1;
        failure(409, Reason::AlreadyExists, message, Some(details))
    }

    /// 409: `Operation cannot be fulfilled on configmaps "x": why`.
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Box<Status> {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {}: {why}",
            quote(name)
        );
        failure(409, Reason::Conflict, message, Some(about(resource, name)))
    }

    /// 409 for a stale resourceVersion.
    pub fn modified(resource: &GroupResource, name: &str) -> Box<Status> {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Status::conflict(resource, name, why)
    }

    /// 409 from server-side apply: the message and one cause for every field in dispute.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<Cause>) -> Box<Status> {
        let details = Details {
            causes,
            ..Details::default()
        };
        failure(409, Reason::Conflict, message, Some(details))
    }

    /// 422: `Kind.group "name" is invalid: errors`. Equal errors are listed once in the message.
    pub fn invalid(kind: &str, group: &str, name: &str, errors: &ErrorList) -> Box<Status> {
        let mut seen = BTreeSet::new();
        let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.retain(|text| seen.insert(text.clone()));
        let list = match texts.as_slice() {
            [] => String::new(),
            [one] => format!(": {one}"),
            many => format!(": [{}]", many.join(", ")),
        };
        let group_kind = GroupKind::new(group, kind);
        let message = format!("{group_kind} {} is invalid{list}", quote(name));
        let details = Details {
            group: group.into(),
            kind: kind.into(),
            name: name.into(),
            causes: errors.iter().map(Cause::from).collect(),
            ..Details::default()
        };
        failure(422, Reason::Invalid, message, Some(details))
    }

    /// 422 for request options, such as `ListOptions`.
    pub fn invalid_options(kind: &str, errors: &ErrorList) -> Box<Status> {
        Status::invalid(kind, "meta.k8s.io", "", errors)
    }

    /// 403 by admission and validation: `configmaps "x" is forbidden: why`.
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Box<Status> {
        let message = match (resource.is_empty(), name) {
            (true, _) => format!("forbidden: {why}"),
            (false, "") => format!("{resource} is forbidden: {why}"),
            (false, name) => format!("{resource} {} is forbidden: {why}", quote(name)),
        };
        failure(403, Reason::Forbidden, message, Some(about(resource, name)))
    }

    /// 403 by authorization. The parts that the client chose are escaped for HTML.
    pub fn denied(denied: &Denied<'_>) -> Box<Status> {
        let mut why = String::new();
        for c in denied.message().chars() {
            match c {
                '&' => why.push_str("&amp;"),
                '<' => why.push_str("&lt;"),
                '>' => why.push_str("&gt;"),
                c => why.push(c),
            }
        }
        if !denied.reason.is_empty() {
            why.push_str(": ");
            why.push_str(denied.reason);
        }
        let resource = GroupResource::new(denied.group, denied.resource);
        Status::forbidden(&resource, denied.name, &why)
    }

    /// 403 for writing into a namespace on its way out.
    pub fn namespace_terminating(
        resource: &GroupResource,
        name: &str,
        namespace: &str,
    ) -> Box<Status> {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut status = Status::forbidden(resource, name, &why);
        status.add_cause(Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        });
        status
    }

    /// 401, always with the same message.
    pub fn unauthorized() -> Box<Status> {
        failure(401, Reason::Unauthorized, "Unauthorized", None)
    }

    /// 400 with the plain cause.
    pub fn bad_request(message: impl Into<String>) -> Box<Status> {
        failure(400, Reason::BadRequest, message, None)
    }

    /// 405: `patch is not supported on resources of kind "x.group"`.
    pub fn method_not_allowed(resource: &GroupResource, verb: &str) -> Box<Status> {
        let kind = quote(&resource.to_string());
        let message = format!("{verb} is not supported on resources of kind {kind}");
        let details = about(resource, "");
        failure(405, Reason::MethodNotAllowed, message, Some(details))
    }

    /// 410: `too old resource version`, expired continue tokens.
    pub fn expired(message: impl Into<String>) -> Box<Status> {
        failure(410, Reason::Expired, message, None)
    }

    /// 410 for a continue token, with the token that goes on at the current state.
    pub fn continue_expired(token: Option<String>) -> Box<Status> {
        let mut status = Status::expired(match token {
            Some(_) => {
                "The provided continue parameter is too old to display a consistent list result. \
                 You can start a new list without the continue parameter, or use the continue \
                 token in this response to retrieve the remainder of the results. Continuing with \
                 the provided token results in an inconsistent list - objects that were created, \
                 modified, or deleted between the time the first chunk was returned and now may \
                 show up in the list."
            }
            None => {
                "The provided continue parameter is too old to display a consistent list result. \
                 You must start a new list without the continue parameter."
            }
        });
        status.continue_token = token;
        status
    }

    /// 504 for a resourceVersion that the server has not reached.
    pub fn too_large_resource_version(requested: u64, current: u64) -> Box<Status> {
        let text = format!("Too large resource version: {requested}, current: {current}");
        let mut status = Status::timeout(text, 1);
        status.add_cause(cause(
            "ResourceVersionTooLarge",
            "Too large resource version",
        ));
        status
    }

    /// 504: `Timeout: why`.
    pub fn timeout(why: impl fmt::Display, retry_after_seconds: u32) -> Box<Status> {
        let details = Details {
            retry_after_seconds,
            ..Details::default()
        };
        failure(
            504,
            Reason::Timeout,
            format!("Timeout: {why}"),
            Some(details),
        )
    }

    /// 500 with reason ServerTimeout: the client shall try again.
    pub fn server_timeout(
        resource: &GroupResource,
        operation: &str,
        retry_after_seconds: u32,
    ) -> Box<Status> {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, \
             please try again."
        );
        let details = Details {
            retry_after_seconds,
            ..about(resource, operation)
        };
        failure(500, Reason::ServerTimeout, message, Some(details))
    }

    /// 500: `Internal error occurred: why`.
    pub fn internal(why: impl fmt::Display) -> Box<Status> {
        let why = why.to_string();
        let message = format!("Internal error occurred: {why}");
        let details = Details {
            causes: vec![cause("", why)],
            ..Details::default()
        };
        failure(500, Reason::InternalError, message, Some(details))
    }

    /// 500 with no reason and the raw text: what Kubernetes answers for errors of no kind.
    pub fn plain(message: impl Into<String>) -> Box<Status> {
        failure(500, Reason::Unknown, message, None)
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Box<Status> {
        let details = Details {
            retry_after_seconds,
            ..Details::default()
        };
        failure(429, Reason::TooManyRequests, message, Some(details))
    }

    /// 503.
    pub fn service_unavailable(message: impl Into<String>) -> Box<Status> {
        failure(503, Reason::ServiceUnavailable, message, None)
    }

    /// 503 that names a time to try again.
    pub fn service_unavailable_for(
        message: impl Into<String>,
        retry_after_seconds: u32,
    ) -> Box<Status> {
        let details = Details {
            retry_after_seconds,
            ..Details::default()
        };
        failure(503, Reason::ServiceUnavailable, message, Some(details))
    }

    /// 413: `Request entity too large: why`.
    pub fn request_entity_too_large(why: impl fmt::Display) -> Box<Status> {
        let message = format!("Request entity too large: {why}");
        failure(413, Reason::RequestEntityTooLarge, message, None)
    }

    /// 413 for a body above the limit in bytes.
    pub fn body_too_large(limit: usize) -> Box<Status> {
        Status::request_entity_too_large(format_args!("limit is {limit}"))
    }

    /// 406 with the media types that would be.
    pub fn not_acceptable(accepted: &[&str]) -> Box<Status> {
        let list = accepted.join(", ");
        let message = format!("only the following media types are accepted: {list}");
        failure(406, Reason::NotAcceptable, message, None)
    }

    /// 406 for a form of answer that this endpoint has not.
    pub fn not_acceptable_form(message: impl Into<String>) -> Box<Status> {
        failure(406, Reason::NotAcceptable, message, None)
    }

    /// 415 with the media types that are understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Box<Status> {
        let list = accepted.join(", ");
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {list}"
        );
        failure(415, Reason::UnsupportedMediaType, message, None)
    }

    /// What clients make of a code without a Status: text and reason follow from the code.
    /// `server_message` is shown where Kubernetes shows it (403, 406, 415, 5xx).
    pub fn generic_server_response(
        code: u16,
        verb: &str,
        resource: &GroupResource,
        name: &str,
        server_message: &str,
    ) -> Box<Status> {
        let (reason, mut message) = generic_text(code, verb, server_message);
        let verb = verb.to_lowercase();
        if !resource.is_empty() {
            match name {
                "" => message.push_str(&format!(" ({verb} {resource})")),
                name => message.push_str(&format!(" ({verb} {resource} {name})")),
            }
        }
        failure(code, reason, message, Some(about(resource, name)))
    }

    /// 200 for a deletion that is done.
    pub fn deleted(resource: &GroupResource, name: &str, uid: &str) -> Box<Status> {
        let details = Details {
            uid: uid.into(),
            ..about(resource, name)
        };
        Box::new(Status {
            success: true,
            code: 200,
            details: Some(details),
            ..Status::default()
        })
    }

    /// Adds a cause, making the details if there are none.
    pub fn add_cause(&mut self, cause: Cause) {
        self.details.get_or_insert_default().causes.push(cause);
    }

    /// Whether one of the causes has this reason.
    pub fn has_cause(&self, reason: &str) -> bool {
        self.details
            .as_ref()
            .is_some_and(|d| d.causes.iter().any(|c| c.reason == reason))
    }

    /// Seconds for the `Retry-After` header.
    pub fn retry_after(&self) -> Option<u32> {
        self.details
            .as_ref()
            .map(|d| d.retry_after_seconds)
            .filter(|&seconds| seconds > 0)
    }

    /// The object on the wire.
    pub fn to_json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = json!(token);
        }
        let status = if self.success { "Success" } else { "Failure" };
        let mut out = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": metadata, "status": status,
        });
        let mut put = |name: &str, text: &str| {
            if !text.is_empty() {
                out[name] = json!(text);
            }
        };
        put("message", &self.message);
        put("reason", self.reason.as_str());
        if !self.success {
            out["code"] = json!(self.code);
        }
        if let Some(details) = &self.details {
            out["details"] = details.to_json();
        }
        out
    }

    /// Reads a Status from the wire, as clients do. `None` if it is something else.
    pub fn from_json(value: &Value) -> Option<Box<Status>> {
        if get_str(value, &["kind"]) != Some("Status") {
            return None;
        }
        let text = |name: &str| get_str(value, &[name]).unwrap_or_default();
        let success = text("status") == "Success";
        let code = get_i64(value, &["code"]).and_then(|code| u16::try_from(code).ok());
        Some(Box::new(Status {
            success,
            code: code.unwrap_or(if success { 200 } else { 0 }),
            reason: Reason::from(text("reason")),
            message: text("message").to_owned(),
            details: get(value, &["details"]).map(Details::from_json),
            continue_token: get_str(value, &["metadata", "continue"]).map(str::to_owned),
        }))
    }
}

fn generic_text(code: u16, verb: &str, server_message: &str) -> (Reason, String) {
    let (reason, text) = match code {
        409 if verb == "POST" => (Reason::AlreadyExists, "the server reported a conflict"),
        409 => (Reason::Conflict, "the server reported a conflict"),
        404 => (
            Reason::NotFound,
            "the server could not find the requested resource",
        ),
        400 => (
            Reason::BadRequest,
            "the server rejected our request for an unknown reason",
        ),
        401 => (
            Reason::Unauthorized,
            "the server has asked for the client to provide credentials",
        ),
        403 => (Reason::Forbidden, server_message),
        406 if server_message.is_empty() => (
            Reason::NotAcceptable,
            "the server was unable to respond with a content type that the client supports",
        ),
        406 => (Reason::NotAcceptable, server_message),
        415 => (Reason::UnsupportedMediaType, server_message),
        405 => (
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        ),
        422 => (
            Reason::Invalid,
            "the server rejected our request due to an error in our request",
        ),
        503 => (
            Reason::ServiceUnavailable,
            "the server is currently unable to handle the request",
        ),
        504 => (
            Reason::Timeout,
            "the server was unable to return a response in the time allotted, but may still be \
             processing the request",
        ),
        429 => (
            Reason::TooManyRequests,
            "the server has received too many requests and has asked us to try again later",
        ),
        500.. => {
            let quoted = quote(server_message);
            let text = format!(
                "an error on the server ({quoted}) has prevented the request from succeeding"
            );
            return (Reason::InternalError, text);
        }
        _ => {
            let text = format!(
                "the server responded with the status code {code} but did not \
                                return more information"
            );
            return (Reason::Unknown, text);
        }
    };
    (reason, text.to_owned())
}

impl Details {
    fn to_json(&self) -> Value {
        let mut out = json!({});
        let texts = [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out[name] = json!(text.as_str());
        }
        if !self.causes.is_empty() {
            out["causes"] = self.causes.iter().map(Cause::to_json).collect();
        }
        if self.retry_after_seconds > 0 {
            out["retryAfterSeconds"] = json!(self.retry_after_seconds);
        }
        out
    }

    fn from_json(value: &Value) -> Details {
        let text = |name: &str| SmolStr::from(get_str(value, &[name]).unwrap_or_default());
        let retry = get_i64(value, &["retryAfterSeconds"]).unwrap_or_default();
        Details {
            name: text("name"),
            group: text("group"),
            kind: text("kind"),
            uid: text("uid"),
            causes: get_array(value, &["causes"])
                .iter()
                .map(Cause::from_json)
                .collect(),
            retry_after_seconds: u32::try_from(retry).unwrap_or_default(),
        }
    }
}

impl Cause {
    fn to_json(&self) -> Value {
        let mut out = json!({});
        let texts = [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out[name] = json!(text);
        }
        out
    }

    fn from_json(value: &Value) -> Cause {
        let text = |name: &str| get_str(value, &[name]).unwrap_or_default().to_owned();
        Cause {
            reason: text("reason"),
            message: text("message"),
            field: text("field"),
        }
    }
}

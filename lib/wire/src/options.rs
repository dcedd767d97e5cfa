//! What a request may ask for in its query or, for deletions, in its body.
//!
//! Start at [`ListOptions::from_query`] and its neighbours. Reading fails with 400 where a value
//! cannot be read; `validate` fails with 422 where values do not go together. They are apart
//! because authorization stands between the two.

use hanse_json::go::json;
use hanse_json::{Value, get, get_array, get_bool, get_i64, get_str};
use hanse_schema::field::{BadValue, Error as FieldError, ErrorList, Path};
use hanse_schema::meta::validate_field_manager;

use crate::limits::MAX_TIMEOUT_SECONDS;
use crate::query::Query;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Result, Status};

/// How a requested resourceVersion is meant.
pub const MATCH_EXACT: &str = "Exact";
/// At least as new as the requested resourceVersion.
pub const MATCH_NOT_OLDER_THAN: &str = "NotOlderThan";

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Which labels the objects must have.
    pub label_selector: LabelSelector,
    /// Which fields the objects must have.
    pub field_selector: FieldSelector,
    /// Whether this is a watch.
    pub watch: bool,
    /// Whether the watcher understands bookmarks.
    pub allow_watch_bookmarks: bool,
    /// Not yet read as a number: what that means differs between verbs.
    pub resource_version: String,
    /// `Exact`, `NotOlderThan` or empty.
    pub resource_version_match: String,
    /// When the server shall end the request.
    pub timeout_seconds: Option<i64>,
    /// Most objects in one page; 0 or less means no bound.
    pub limit: i64,
    /// Where a chunked list goes on.
    pub continue_token: String,
    /// Whether a watch shall begin with the objects that are there.
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads the options of a URL.
    ///
    /// # Errors
    /// 400 for numbers and selectors that cannot be read.
    pub fn from_query(query: &Query) -> Result<Self> {
        let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
        Ok(ListOptions {
            label_selector: LabelSelector::parse(&text("labelSelector"))?,
            field_selector: FieldSelector::parse(&text("fieldSelector"))?,
            watch: query.flag("watch").unwrap_or(false),
            allow_watch_bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            resource_version: text("resourceVersion"),
            resource_version_match: text("resourceVersionMatch"),
            timeout_seconds: integer(query, "timeoutSeconds")?,
            limit: integer(query, "limit")?.unwrap_or(0),
            continue_token: text("continue"),
            send_initial_events: query.flag("sendInitialEvents"),
        })
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// 422 of kind ListOptions.
    pub fn validate(&self) -> Result<()> {
        let mut errors = ErrorList::new();
        if self.watch {
            self.validate_watch(&mut errors);
        } else {
            self.validate_list(&mut errors);
        }
        errors
            .into_result()
            .map_err(|errors| Status::invalid_options("ListOptions", &errors))
    }

    fn validate_list(&self, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        let wanted = self.resource_version_match.as_str();
        if !wanted.is_empty() {
            if self.resource_version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if !self.continue_token.is_empty() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if !matches!(wanted, MATCH_EXACT | MATCH_NOT_OLDER_THAN) {
                let known = [MATCH_EXACT, MATCH_NOT_OLDER_THAN, ""];
                errors.push(FieldError::not_supported(&path, wanted, &known));
            }
            if wanted == MATCH_EXACT && self.resource_version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(&path, why));
            }
        }
        if self.send_initial_events.is_some() {
            let why = "sendInitialEvents is forbidden for list";
            errors.push(FieldError::forbidden(&Path::new("sendInitialEvents"), why));
        }
    }

    fn validate_watch(&self, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        let wanted = self.resource_version_match.as_str();
        // A watch from nowhere asks for what is there first, as if it had said so.
        let from_nowhere = matches!(self.resource_version.as_str(), "" | "0")
            && self.send_initial_events.is_none()
            && wanted.is_empty();
        if from_nowhere && !self.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(&path, why));
        }
        if self.send_initial_events.is_some() && wanted != MATCH_NOT_OLDER_THAN {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(&path, why));
        }
        if wanted.is_empty() {
            return;
        }
        if self.send_initial_events.is_none() {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(&path, why));
        }
        if wanted != MATCH_NOT_OLDER_THAN {
            errors.push(FieldError::not_supported(
                &path,
                wanted,
                &[MATCH_NOT_OLDER_THAN],
            ));
        }
        if !self.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(&path, why));
        }
    }
}

/// Reads a resourceVersion as a list, watch or get takes it.
///
/// # Errors
/// The text of the failure; the verb decides about the code (see [`unparsable_version`]).
pub fn parse_version(text: &str) -> std::result::Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<u64>().map(Some).map_err(|err| {
        let why = number_error("ParseUint", text, &err);
        let path = Path::new("resourceVersion");
        FieldError::invalid(&path, text, why).to_string()
    })
}

/// The answer to a resourceVersion that is no number: watches fail with a plain 500 and all else
/// with 400, as upstream does.
pub fn unparsable_version(why: &str, watch: bool) -> Box<Status> {
    match watch {
        true => Status::plain(why),
        false => Status::bad_request(format!("invalid resource version: {why}")),
    }
}

fn number_error(function: &str, text: &str, err: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match err.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!(
        "strconv.{function}: parsing {}: {why}",
        hanse_json::go::quote(text)
    )
}

fn integer(query: &Query, name: &str) -> Result<Option<i64>> {
    match query.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse::<i64>()
            .map(Some)
            .map_err(|err| Status::bad_request(number_error("ParseInt", text, &err))),
    }
}

/// What happens to fields that the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped in silence.
    Ignore,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// The request fails.
    Strict,
}

/// Options of create, update and patch, which differ only in the kind named by errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// `All`, or nothing.
    pub dry_run: Vec<String>,
    /// Empty if the client did not say.
    pub field_manager: String,
    /// As given; see [`WriteOptions::field_validation`].
    pub field_validation: String,
    /// For apply: take fields from other managers.
    pub force: Option<bool>,
}

/// Options of create.
pub type CreateOptions = WriteOptions;
/// Options of update.
pub type UpdateOptions = WriteOptions;
/// Options of patch.
pub type PatchOptions = WriteOptions;

/// Which kind of options a [`WriteOptions`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// CreateOptions.
    Create,
    /// UpdateOptions.
    Update,
    /// PatchOptions for other patches than apply.
    Patch,
    /// PatchOptions for server-side apply.
    Apply,
}

impl WriteOptions {
    /// Reads the options of a URL; cannot fail.
    pub fn from_query(query: &Query) -> Self {
        let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
        WriteOptions {
            dry_run: query.all("dryRun").map(str::to_owned).collect(),
            field_manager: text("fieldManager"),
            field_validation: text("fieldValidation"),
            force: query.flag("force"),
        }
    }

    /// Whether nothing shall be stored.
    pub fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }

    /// What happens to unknown and duplicate fields.
    pub fn field_validation(&self) -> FieldValidation {
        match self.field_validation.as_str() {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            _ => FieldValidation::Warn,
        }
    }

    /// Checks the options for one kind of write.
    ///
    /// # Errors
    /// 422 of kind CreateOptions, UpdateOptions or PatchOptions.
    pub fn validate(&self, write: Write) -> Result<()> {
        let mut errors = ErrorList::new();
        let manager = Path::new("fieldManager");
        match write {
            Write::Apply if self.field_manager.is_empty() => {
                errors.push(FieldError::required(
                    &manager,
                    "is required for apply patch",
                ));
            }
            Write::Patch if self.force.is_some() => {
                let why = "may not be specified for non-apply patch";
                errors.push(FieldError::forbidden(&Path::new("force"), why));
            }
            _ => {}
        }
        validate_field_manager(&self.field_manager, &manager, &mut errors);
        validate_dry_run(&self.dry_run, &mut errors);
        if !matches!(
            self.field_validation.as_str(),
            "" | "Ignore" | "Warn" | "Strict"
        ) {
            let path = Path::new("fieldValidation");
            let known = ["", "Ignore", "Strict", "Warn"];
            let value = self.field_validation.as_str();
            errors.push(FieldError::not_supported(&path, value, &known));
        }
        let kind = match write {
            Write::Create => "CreateOptions",
            Write::Update => "UpdateOptions",
            Write::Patch | Write::Apply => "PatchOptions",
        };
        errors
            .into_result()
            .map_err(|errors| Status::invalid_options(kind, &errors))
    }
}

fn validate_dry_run(dry_run: &[String], errors: &mut ErrorList) {
    if dry_run.iter().any(|value| value != "All") {
        let list = BadValue::Json(json(&Value::from(dry_run.to_vec())));
        errors.push(FieldError::not_supported(
            &Path::new("dryRun"),
            list,
            &["All"],
        ));
    }
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They go later.
    Background,
    /// They go first.
    Foreground,
}

/// Options of delete and deletecollection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Ignored for kinds that end at once.
    pub grace_period_seconds: Option<i64>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only this version of the object.
    pub resource_version: Option<String>,
    /// The old form of the propagation policy.
    pub orphan_dependents: Option<bool>,
    /// As given.
    pub propagation_policy: Option<String>,
    /// `All`, or nothing.
    pub dry_run: Vec<String>,
}

impl DeleteOptions {
    /// Reads the options of a URL, which count when there is no body.
    ///
    /// # Errors
    /// 400 for a grace period that is no number.
    pub fn from_query(query: &Query) -> Result<Self> {
        Ok(DeleteOptions {
            grace_period_seconds: integer(query, "gracePeriodSeconds")?,
            orphan_dependents: query.flag("orphanDependents"),
            propagation_policy: query.get("propagationPolicy").map(str::to_owned),
            dry_run: query.all("dryRun").map(str::to_owned).collect(),
            ..DeleteOptions::default()
        })
    }

    /// Reads the body of a deletion. Group and version may be any: Kubernetes registers the
    /// options in every group.
    ///
    /// # Errors
    /// 400 if the body is an object of another kind, or no object.
    pub fn from_body(body: &Value) -> Result<Self> {
        let kind = get_str(body, &["kind"]).unwrap_or_default();
        if !body.is_object() || !matches!(kind, "" | "DeleteOptions") {
            let version = get_str(body, &["apiVersion"]).unwrap_or_default();
            return Err(Status::bad_request(format!(
                "no kind \"{kind}\" is registered for version \"{version}\" in scheme \
                 \"pkg/runtime/scheme.go:111\""
            )));
        }
        let text = |path: &[&str]| get_str(body, path).map(str::to_owned);
        let dry_run = get_array(body, &["dryRun"])
            .iter()
            .filter_map(Value::as_str);
        if let Some(value) = get(body, &["gracePeriodSeconds"])
            && !value.is_null()
            && get_i64(body, &["gracePeriodSeconds"]).is_none()
        {
            return Err(Status::bad_request(format!(
                "json: cannot unmarshal {} into Go struct field \
                 DeleteOptions.gracePeriodSeconds of type int64",
                hanse_json::type_name(value)
            )));
        }
        Ok(DeleteOptions {
            grace_period_seconds: get_i64(body, &["gracePeriodSeconds"]),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            orphan_dependents: get_bool(body, &["orphanDependents"]),
            propagation_policy: text(&["propagationPolicy"]),
            dry_run: dry_run.map(str::to_owned).collect(),
        })
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// 422 of kind DeleteOptions.
    pub fn validate(&self) -> Result<()> {
        let mut errors = ErrorList::new();
        if let Some(policy) = &self.propagation_policy {
            let path = Path::new("propagationPolicy");
            if self.orphan_dependents.is_some() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(FieldError::invalid(&path, policy.as_str(), why));
            }
            if !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan") {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported(&path, policy.as_str(), &known));
            }
        }
        validate_dry_run(&self.dry_run, &mut errors);
        errors
            .into_result()
            .map_err(|errors| Status::invalid_options("DeleteOptions", &errors))
    }

    /// Whether nothing shall be deleted.
    pub fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }

    /// What the options say about dependents, if they say anything.
    pub fn propagation(&self) -> Option<Propagation> {
        match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            _ => None,
        }
    }
}

/// Reads the `timeout` parameter, which bounds a request in Go's duration syntax.
/// `None` means the server's default; larger values than the maximum are capped.
///
/// # Errors
/// 400 for a text that is no duration.
pub fn request_timeout(query: &Query) -> Result<Option<std::time::Duration>> {
    let Some(text) = query.get("timeout").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = go_duration(text).map_err(|why| {
        Status::bad_request(format!(
            "invalid timeout specified in the request URL - {why}"
        ))
    })?;
    if seconds <= 0.0 {
        return Ok(None);
    }
    let capped = seconds.min(MAX_TIMEOUT_SECONDS as f64);
    Ok(Some(std::time::Duration::from_secs_f64(capped)))
}

/// Seconds of a Go duration such as `1h15m30.5s`.
///
/// # Errors
/// Go's text.
pub fn go_duration(text: &str) -> std::result::Result<f64, String> {
    let quoted = hanse_json::go::quote(text);
    let invalid = || format!("time: invalid duration {quoted}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "" => return Err(format!("time: missing unit in duration {quoted}")),
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => {
                let other = hanse_json::go::quote(other);
                return Err(format!("time: unknown unit {other} in duration {quoted}"));
            }
        };
        total += number * seconds;
        rest = &rest[unit..];
    }
    Ok(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn list(query: &str) -> Result<ListOptions> {
        ListOptions::from_query(&Query::parse(query))
    }

    #[test]
    fn refuses_lists_in_upstreams_words() {
        let message = |query: &str| list(query).unwrap_err().message;
        assert_eq!(
            message("limit=x"),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        let message = |query: &str| list(query).unwrap().validate().unwrap_err().message;
        assert_eq!(
            message("resourceVersionMatch=Exact"),
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             resourceVersionMatch is forbidden unless resourceVersion is provided"
        );
        assert!(message("resourceVersionMatch=Exact&resourceVersion=0").contains("\"exact\""));
        assert!(message("sendInitialEvents=1").ends_with("is forbidden for list"));
        assert!(message("watch=1&sendInitialEvents=1").ends_with("to NotOlderThan"));
        assert!(message("watch&resourceVersionMatch=NotOlderThan").contains("unless sendInitial"));
        let good = "watch&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&limit=-1";
        assert!(list(good).unwrap().validate().is_ok());
    }

    #[test]
    fn refuses_versions_that_are_no_numbers() {
        let why = parse_version("abc").unwrap_err();
        assert_eq!(
            unparsable_version(&why, false).message,
            "invalid resource version: resourceVersion: Invalid value: \"abc\": \
             strconv.ParseUint: parsing \"abc\": invalid syntax"
        );
        assert_eq!(unparsable_version(&why, true).code, 500);
        assert_eq!(parse_version("").unwrap(), None);
        assert_eq!(parse_version("7").unwrap(), Some(7));
    }

    #[test]
    fn refuses_writes_in_upstreams_words() {
        let message = |query: &str, write: Write| {
            let options = WriteOptions::from_query(&Query::parse(query));
            options.validate(write).unwrap_err().message
        };
        assert_eq!(
            message("", Write::Apply),
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required \
             for apply patch"
        );
        assert!(message("force=1", Write::Patch).contains("force: Forbidden: may not be"));
        assert!(message("fieldValidation=x", Write::Create).contains("supported values: \"\""));
        assert!(
            message("dryRun=x", Write::Update)
                .ends_with("dryRun: Unsupported value: [\"x\"]: supported values: \"All\"")
        );
    }

    #[test]
    fn reads_delete_options_from_body_or_query() {
        let body = json!({"kind": "DeleteOptions", "preconditions": {"uid": "u"},
                          "propagationPolicy": "Foreground", "dryRun": ["All"]});
        let options = DeleteOptions::from_body(&body).unwrap();
        assert_eq!(options.uid.as_deref(), Some("u"));
        assert_eq!(options.propagation(), Some(Propagation::Foreground));
        assert!(options.is_dry_run());
        assert_eq!(
            DeleteOptions::from_body(&json!({"kind": "Pod"}))
                .unwrap_err()
                .code,
            400
        );
        let query = Query::parse("orphanDependents=true&gracePeriodSeconds=0");
        let options = DeleteOptions::from_query(&query).unwrap();
        assert_eq!(options.propagation(), Some(Propagation::Orphan));
        let sideways = json!({"propagationPolicy": "Sideways"});
        let status = DeleteOptions::from_body(&sideways)
            .unwrap()
            .validate()
            .unwrap_err();
        assert_eq!(
            status.message,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \
             \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
        );
    }

    #[test]
    fn reads_timeouts() {
        let read = |text: &str| request_timeout(&Query::parse(&format!("timeout={text}")));
        assert_eq!(read("1m30s").unwrap().unwrap().as_secs(), 60);
        assert_eq!(read("1.5s").unwrap().unwrap().as_millis(), 1500);
        assert_eq!(read("0").unwrap(), None);
        assert_eq!(
            read("5").unwrap_err().message,
            "invalid timeout specified in the request URL - time: missing unit in duration \"5\""
        );
        assert!(
            read("x")
                .unwrap_err()
                .message
                .ends_with("time: invalid duration \"x\"")
        );
    }
}

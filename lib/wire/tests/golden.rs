//! Status objects and watch frames compared with what real servers answered.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use hanse_json::{Limits, Value, parse};
use hanse_schema::field::{Error, ErrorList, Path as Field};
use hanse_wire::options::{ListOptions, Write, WriteOptions, parse_version, unparsable_version};
use hanse_wire::query::Query;
use hanse_wire::status::Denied;
use hanse_wire::{GroupResource, Status, continue_token, negotiate, selector, watch};

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../e2e/golden")
        .join(name);
    let bytes = std::fs::read(&path).unwrap();
    match parse(&bytes, &Limits::default()).unwrap().value {
        Value::Array(entries) => entries,
        other => panic!("{name} is {other}"),
    }
}

fn all() -> Vec<Value> {
    let files = ["kubernetes/answers.json", "kcp/errors-and-answers.json"];
    files.into_iter().flat_map(golden).collect()
}

/// The recorded answer of a request.
fn answer(method: &str, path: &str, code: i64) -> Value {
    let found = all().into_iter().find(|entry| {
        let request = &entry["request"];
        request["method"] == method && request["path"] == path && entry["status"] == code
    });
    found.unwrap_or_else(|| panic!("{method} {path} {code}"))["body"].take()
}

#[test]
fn every_recorded_status_survives() {
    let mut seen = 0;
    for entry in all()
        .iter()
        .filter(|entry| entry["body"]["kind"] == "Status")
    {
        let status = Status::from_json(&entry["body"]).unwrap();
        assert_eq!(status.to_json(), entry["body"]);
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn failures_are_made_as_recorded() {
    let maps = GroupResource::new("", "configmaps");
    let namespaces = GroupResource::new("", "namespaces");
    let widgets = GroupResource::new("golden.example.com", "widgets");
    let kubernetes = "/api/v1/namespaces/golden/configmaps";
    let widget = "/clusters/root:consumer2/apis/golden.example.com/v1/namespaces/default/widgets";
    let same = |status: Box<Status>, expected: Value| assert_eq!(status.to_json(), expected);
    let name = format!("{kubernetes}/cm");
    same(Status::not_found(&maps, "cm"), answer("GET", &name, 404));
    same(
        Status::already_exists(&namespaces, "golden"),
        answer("POST", "/api/v1/namespaces", 409),
    );
    let one = format!("{widget}/one");
    same(Status::modified(&widgets, "one"), answer("PUT", &one, 409));
    same(
        Status::generic_server_response(422, "PATCH", &GroupResource::default(), "", ""),
        {
            let mut expected = answer("PATCH", &one, 422);
            for entry in golden("kcp/errors-and-answers.json") {
                if entry["body"]["message"]
                    .as_str()
                    .unwrap_or("")
                    .starts_with("the server rej")
                {
                    expected = entry["body"].clone();
                }
            }
            expected
        },
    );
    same(
        Status::namespace_terminating(&maps, "late", "golden"),
        all()
            .into_iter()
            .find(|e| e["body"]["details"]["name"] == "late" && e["status"] == 403)
            .unwrap()["body"]
            .take(),
    );
    let denied = Denied {
        user: "user-1",
        verb: "list",
        resource: "namespaces",
        reason: "access denied",
        ..Denied::default()
    };
    let recorded = answer("GET", "/clusters/*/api/v1/namespaces", 403);
    same(Status::denied(&denied), recorded);
    same(
        Status::unauthorized(),
        answer("GET", "/clusters/root:consumer2/api/v1/namespaces", 401),
    );
    let path = format!("{widget}?resourceVersion=99999999");
    same(
        Status::too_large_resource_version(99_999_999, 964),
        answer("GET", &path, 504),
    );
}

#[test]
fn options_and_selectors_fail_as_recorded() {
    let widget = "/clusters/root:consumer2/apis/golden.example.com/v1/namespaces/default/widgets";
    let query = |path: &str| Query::parse(path.split_once('?').unwrap().1);
    for rest in ["limit=x", "labelSelector=a%3D%3D%3Db"] {
        let path = format!("{widget}?{rest}");
        let status = ListOptions::from_query(&query(&path)).unwrap_err();
        assert_eq!(status.to_json(), answer("GET", &path, 400));
    }
    let path = format!("{widget}?continue=bogus");
    let status = continue_token::Token::decode("bogus").unwrap_err();
    assert_eq!(status.to_json(), answer("GET", &path, 400));
    let path = "/api/v1/configmaps?resourceVersionMatch=Exact";
    let status = ListOptions::from_query(&query(path))
        .unwrap()
        .validate()
        .unwrap_err();
    assert_eq!(status.to_json(), answer("GET", path, 422));
    let why = parse_version("abc").unwrap_err();
    let path = "/api/v1/configmaps?resourceVersion=abc";
    assert_eq!(
        unparsable_version(&why, false).to_json(),
        answer("GET", path, 400)
    );
    let path = "/api/v1/configmaps?watch=1&resourceVersion=abc";
    assert_eq!(
        unparsable_version(&why, true).to_json(),
        answer("GET", path, 500)
    );
    let path = format!("{widget}/applied");
    let status = WriteOptions::default().validate(Write::Apply).unwrap_err();
    assert_eq!(status.to_json(), answer("PATCH", &path, 422));
    assert!(selector::FieldSelector::parse("spec.size=3").is_ok());
}

#[test]
fn media_types_are_refused_as_recorded() {
    let widget =
        "/clusters/root:consumer2/apis/golden.example.com/v1/namespaces/default/widgets/one";
    let status = negotiate::patch_type(Some("application/strategic-merge-patch+json"), false);
    assert_eq!(status.unwrap_err().to_json(), answer("PATCH", widget, 415));
    let widgets = widget.trim_end_matches("/one");
    let xml = negotiate::Wanted {
        accept: Some("application/xml"),
        ..Default::default()
    };
    let status = negotiate::output(&xml, negotiate::Forms::RESOURCE).unwrap_err();
    assert_eq!(status.to_json(), answer("GET", widgets, 406));
    let status = negotiate::input(Some("text/plain")).unwrap_err();
    assert_eq!(status.to_json(), answer("POST", widgets, 415));
}

#[test]
fn causes_are_listed_and_named_as_recorded() {
    let mut errors = ErrorList::new();
    for key in ["tls.crt", "tls.key"] {
        errors.push(Error::required(&Field::new("data").key(key), ""));
    }
    let status = Status::invalid("Secret", "", "s2", &errors);
    let recorded = all()
        .into_iter()
        .find(|e| e["body"]["details"]["name"] == "s2")
        .unwrap();
    assert_eq!(status.to_json(), recorded["body"]);
}

#[test]
fn bookmarks_are_as_recorded() {
    let entry = &golden("kcp/watch-list.json")[0];
    let lines = match &entry["body"] {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => panic!("{other}"),
    };
    let line = lines
        .lines()
        .find(|line| line.contains("BOOKMARK"))
        .unwrap();
    let version = 967;
    let ours = watch::bookmark("golden.example.com/v1", "Widget", version, true);
    assert_eq!(String::from_utf8(ours).unwrap().trim_end(), line);
}

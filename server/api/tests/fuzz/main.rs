//! Every parser of client bytes under random input: no panic, no hang, and what is read can be
//! written and read again.
//!
//! Start at [`TARGETS`], one row for each parser with examples to begin from; `mutate.rs` changes
//! them, joins them and fills in words of the language. `HANSE_ROUNDS` inputs of each target are
//! tried from `HANSE_SEED` on. An input that fails is printed as it is, and the last one of
//! each target stays in cargo's `target/tmp`; it belongs into the examples of its row then. That the net catches fish is tested as well.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::panic::catch_unwind;
use std::time::Duration;

use hanse_api::info::RequestInfo;
use hanse_api::path;
use hanse_apply::Set;
use hanse_apply::patch::{MergeSchema, json_patch, merge_patch, strategic_merge};
use hanse_auth::token::{Signer, looks_like_jwt, unverified_cluster};
use hanse_cel::{Binding, Budget, DeclType, Decls, Env};
use hanse_json::{Limits, Value, json};
use hanse_seams::{Clock, RealClock, Simulation};
use hanse_wire::continue_token::Token;
use hanse_wire::jsonpath::JsonPath;
use hanse_wire::negotiate::{Forms, Wanted, output, stream_output};
use hanse_wire::options::{CreateOptions, DeleteOptions, ListOptions, go_duration, parse_version};
use hanse_wire::query::Query;
use hanse_wire::selector::{FieldSelector, LabelSelector};
use hanse_wire::yaml;

mod mutate;

/// Longer than this for one input, on a busy machine in a debug build, is a hang.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);

/// One parser.
struct Target {
    name: &'static str,
    examples: &'static [&'static str],
    /// Words that mean something in the language.
    words: &'static [&'static str],
    run: fn(&[u8]),
}

const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "1e999",
    "-0",
    "1.0",
    "9223372036854775808",
    "\"a\":",
    "{\"a\":{\"a\":",
    "[[[[",
    "\u{feff}",
    "\"\\",
];

const TARGETS: &[Target] = &[
    Target {
        name: "json",
        examples: &[
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#,
            r#"{"a":[1,-2.5e3,true,null,"x\u00e9\n"],"a":{"b":[]}}"#,
        ],
        words: JSON_WORDS,
        run: |input| {
            if let Ok(parsed) = hanse_json::parse(input, &Limits::default()) {
                let text = hanse_json::to_vec(&parsed.value);
                let again = hanse_json::parse(&text, &Limits::default()).unwrap();
                assert_eq!(hanse_json::to_vec(&again.value), text);
                hanse_json::scan::find(&text, &["metadata", "name"]);
            }
        },
    },
    Target {
        name: "yaml",
        examples: &[
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: |\n    v\n    w\n",
            "- - - - &a {x: 1}\n- *a\n- !!str 1\n- \"\\x41\"\n- >-\n  folded\n  text\n",
        ],
        words: &[
            "&a ",
            "*a",
            "- ",
            ": ",
            "\n",
            "  ",
            "!!binary ",
            "<<: *a",
            "|+2\n",
            ">",
            "? ",
            "---\n",
            "...",
            "{",
            "}",
            "[",
            "]",
            "#",
            "'",
            "\"",
            "%YAML 1.2",
            "\t",
            "0x1f",
            ".inf",
            "~",
            "@",
        ],
        run: |input| {
            if let Ok(parsed) = yaml::parse(input) {
                let again = yaml::parse(yaml::to_string(&parsed.value).as_bytes()).unwrap();
                assert_eq!(again.value, parsed.value);
            }
        },
    },
    Target {
        name: "cel",
        examples: &[
            "self.items.all(i, i.name.startsWith('a') && size(i.name) < 10) || has(self.x)",
            "[1, 2u, 3.0].map(x, x > 1, string(x)).join(',').matches('^[a-z]+$')",
            "duration('1h') < duration('2m') ? {'a': b\"\\xff\"} : optional.of(1).orValue(2)",
            "cidr('10.0.0.0/8').containsIP(ip('::1')) && quantity('1Ki').isGreaterThan(url('a'))",
        ],
        words: &[
            "self",
            ".",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "?",
            ":",
            "'",
            "\"\"\"",
            "r'",
            "b'",
            "\\",
            "in",
            "&&",
            "||",
            "!",
            "-",
            "0x",
            "1e",
            "u",
            "has(",
            ".map(x, ",
            ".all(x,",
            "cel.bind(",
            "//",
            "optional.none()",
            ".matches('(a+)+$')",
            "size(",
            "\u{0}",
            "9223372036854775808",
        ],
        run: |input| {
            let text = String::from_utf8_lossy(input);
            let object: Value = json!({"items": [{"name": "abc"}], "x": {"y": [1, 2.5, null]}});
            let decls = Decls::new().variable("self", DeclType::any());
            if let Ok(program) = Env::for_stored_expressions().compile(&text, &decls) {
                let _ = program.eval(&|_| Binding::Json(&object), Budget::default());
            }
        },
    },
    Target {
        name: "fields-v1",
        examples: &[
            r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"k:{\"port\":80}":{},"v:1":{},"i:3":{}}}"#,
        ],
        words: &[
            "\"f:",
            "\"k:{\\\"a\\\":1}\":{}",
            "\"v:",
            "\"i:-1\":{}",
            "\".\":{}",
            "{",
            "}",
            ",",
        ],
        run: |input| {
            if let Ok(parsed) = hanse_json::parse(input, &Limits::default())
                && let Ok(set) = Set::from_fields_v1(&parsed.value)
            {
                let again = Set::from_fields_v1(&set.to_fields_v1()).unwrap();
                assert_eq!(again, set);
                assert_eq!(set.union(&set), set);
                assert!(set.difference(&set).is_empty());
            }
        },
    },
    Target {
        name: "patches",
        examples: &[
            r#"[{"op":"add","path":"/spec/a/-","value":{"b":1}},{"op":"move","from":"/data","path":"/x~1y"}]"#,
            r#"[{"op":"copy","from":"","path":"/spec/a/0"},{"op":"test","path":"/data/k","value":"v"}]"#,
            r#"{"spec":{"a":null,"list":[{"name":"a","$patch":"delete"},{"name":"z"}],"$retainKeys":["a"]}}"#,
            r#"{"spec":{"list":[{"name":"b","v":2}],"$setElementOrder/list":[{"name":"b"},{"name":"a"}]}}"#,
        ],
        words: &[
            "\"op\":\"remove\"",
            "\"path\":\"\"",
            "\"/spec/list/-\"",
            "\"$patch\":\"replace\"",
            "null",
            "\"$deleteFromPrimitiveList/finalizers\":[\"a\"]",
            "\"/spec/list/00\"",
            "~",
            "~2",
            "{",
            "}",
            "[",
            "]",
            "\"/-1\"",
            "\"/18446744073709551616\"",
            "\"$setElementOrder/list\":[1]",
        ],
        run: |input| {
            let Ok(parsed) = hanse_json::parse(input, &Limits::default()) else {
                return;
            };
            let document = json!({
                "data": {"k": "v"}, "spec": {"a": [1, 2], "list": [{"name": "a", "v": 1}]},
                "metadata": {"finalizers": ["a"]},
            });
            let schema = MergeSchema::from_json(&json!({"fields": {"spec": {"fields": {
                "list": {"merge": true, "key": "name"}}}}}));
            let _ = json_patch(&document, &parsed.value);
            let _ = strategic_merge(&document, &parsed.value, &schema);
            let merged = merge_patch(&document, &parsed.value);
            assert_eq!(
                merge_patch(&merged, &parsed.value),
                merged,
                "a merge patch twice"
            );
        },
    },
    Target {
        name: "selectors",
        examples: &[
            "a=b,c!=d,e in (f,g),h notin (i),!j,k,example.org/l==m,n>5",
            "metadata.name=a,status.phase!=Running,spec.x==a\\,b\\=c\\\\",
        ],
        words: &[
            "=", "!=", "==", "in", "notin", "(", ")", ",", "!", ">", "<", "\\", "/", " ", "\u{e9}",
        ],
        run: |input| {
            let text = String::from_utf8_lossy(input);
            if let Ok(selector) = LabelSelector::parse(&text) {
                selector.matches(|name| (name.len() > 1).then_some("5"));
            }
            if let Ok(selector) = FieldSelector::parse(&text) {
                selector.matches(|_| "a".into());
            }
            if let Ok(parsed) = hanse_json::parse(input, &Limits::default()) {
                let _ = LabelSelector::from_json(Some(&parsed.value));
            }
        },
    },
    Target {
        name: "paths",
        examples: &[
            "/clusters/root:org:team/api/v1/namespaces/default/configmaps/a/status",
            "/services/apiexport/abc/my.export/clusters/*/apis/example.org/v1/things",
            "/clusters/*/apis/apps/v1/watch/deployments",
        ],
        words: &[
            "/",
            "//",
            "/clusters/",
            "/services/",
            "*",
            ":",
            "..",
            "%2f",
            "/api/",
            "/apis/",
            "watch",
            "namespaces",
            "system:",
            "/proxy/",
            "\u{0}",
            "root",
            "\u{e9}",
        ],
        run: |input| {
            let text = String::from_utf8_lossy(input);
            if let Ok(routed) = path::route(&text) {
                for method in [http::Method::GET, http::Method::POST, http::Method::DELETE] {
                    let _ = RequestInfo::parse(&method, routed.path, text.len().is_multiple_of(2));
                }
            }
        },
    },
    Target {
        name: "queries",
        examples: &[
            "labelSelector=a%3Db&limit=500&continue=abc&resourceVersion=7&resourceVersionMatch=Exact",
            "dryRun=All&fieldManager=x&fieldValidation=Strict&force=true&timeout=1h2m3.5s&watch=1",
            "propagationPolicy=Foreground&gracePeriodSeconds=0&orphanDependents=false",
        ],
        words: &[
            "&",
            "=",
            "%",
            "%zz",
            "+",
            ";",
            "limit=",
            "-1",
            "9223372036854775808",
            "timeoutSeconds=",
            "allowWatchBookmarks=",
            "sendInitialEvents=true",
            "true",
            "1e9",
            "ms",
            "\u{b5}s",
        ],
        run: |input| {
            let text = String::from_utf8_lossy(input);
            let query = Query::parse(&text);
            if let Ok(options) = ListOptions::from_query(&query) {
                let _ = options.validate();
            }
            let _ = CreateOptions::from_query(&query);
            if let Ok(options) = DeleteOptions::from_query(&query) {
                let _ = options.validate();
            }
            let _ = (go_duration(&text), parse_version(&text));
            if let Ok(token) = Token::decode(&text) {
                assert_eq!(Token::decode(&token.encode()), Ok(token));
            }
        },
    },
    Target {
        name: "headers",
        examples: &[
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5,*/*",
            "application/vnd.kubernetes.protobuf;stream=watch, application/yaml",
        ],
        words: &[
            ";",
            ",",
            "=",
            "q=",
            "*/*",
            "as=",
            "g=",
            "v=",
            "\"",
            "application/",
            " ",
            "0.",
            "as=Table",
        ],
        run: |input| {
            let text = String::from_utf8_lossy(input);
            let wanted = Wanted {
                accept: Some(&text),
                pretty: None,
                user_agent: Some(&text),
            };
            let _ = output(&wanted, Forms::RESOURCE);
            let _ = stream_output(&wanted, Forms::RESOURCE);
            let _ = hanse_wire::negotiate::patch_type(Some(&text), true);
        },
    },
    Target {
        name: "jsonpath",
        examples: &[
            ".status.conditions[?(@.type==\"Ready\")].status",
            ".spec['a.b'][0,2][-1:]..x[*]",
        ],
        words: &[
            ".", "[", "]", "?(", "@", "==", "'", "\"", "*", "..", ":", "-1", "\\", "{", "}", "&&",
        ],
        run: |input| {
            let object = json!({"spec": {"a.b": [{"x": 1}, 2, []]}, "status": {"conditions": [
                {"type": "Ready", "status": "True"}]}});
            if let Ok(path) = JsonPath::parse(&String::from_utf8_lossy(input)) {
                path.find(&object);
            }
        },
    },
    Target {
        name: "jwt",
        examples: &[
            "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0.AAAA",
            "eyJhbGciOiJub25lIn0.e30.",
        ],
        words: &[".", "eyJ", "=", "-", "_", "e30", "AAAA", "\u{e9}"],
        run: |input| {
            let text = String::from_utf8_lossy(input);
            let (_, _) = (looks_like_jwt(&text), unverified_cluster(&text));
            // A made token is never this key's.
            assert!(SIGNER.with(|signer| signer.verify(&text).is_err()));
        },
    },
    Target {
        name: "protobuf",
        examples: &[
            "k8s\u{0}\n\u{f}\n\u{2}v1\u{12}\u{9}ConfigMap\u{12}\u{b}\n\u{9}\n\u{1}a\u{12}\u{0}\u{1a}\u{2}ns",
        ],
        words: &[
            "k8s\u{0}",
            "\n",
            "\u{12}",
            "\u{1a}",
            "\u{7f}",
            "\u{0}",
            "Secret",
            "Namespace",
            "v1",
        ],
        run: |input| {
            let _ = hanse_kinds::protobuf::decode(input);
        },
    },
    Target {
        name: "schemas",
        examples: &[
            r#"{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","minimum":1},"l":{"type":"array","items":{"type":"string","pattern":"^a+$"},"x-kubernetes-list-type":"set"}},"x-kubernetes-validations":[{"rule":"self.n > 1"}]}}}"#,
        ],
        words: &[
            "\"x-kubernetes-preserve-unknown-fields\":true",
            "\"default\":{}",
            "\"nullable\":true",
            "\"additionalProperties\":{\"type\":\"string\"}",
            "\"pattern\":\"(((a*)*)*)*$\"",
            "\"oneOf\":[]",
            "\"enum\":[1,null]",
            "\"x-kubernetes-int-or-string\":true",
            "\"format\":\"date-time\"",
            "{",
            "}",
        ],
        run: |input| {
            let Ok(parsed) = hanse_json::parse(input, &Limits::default()) else {
                return;
            };
            if let Ok(schema) = hanse_schema::Schema::compile(&parsed.value) {
                let mut object = json!({"spec": {"n": 0, "l": ["a", "a", null], "z": {}}, "y": 1});
                schema.prune(&mut object);
                schema.default(&mut object);
                let _ = schema.validate(&object, None);
                let _ = schema.validate_cel(&object, None, hanse_schema::rules::OBJECT_BUDGET);
            }
        },
    },
    Target {
        name: "dump-lines",
        examples: &[
            r#"{"group":"","resource":"configmaps","identity":"","cluster":"c","namespace":"ns","name":"a","schema":"00000000000000000000000000000000","fields":{},"object":{"metadata":{"name":"a","namespace":"ns","uid":"u","annotations":{"kcp.io/cluster":"c"}}}}"#,
        ],
        words: JSON_WORDS,
        run: |input| {
            let _ = hanse_cache::dump::from_line(input);
        },
    },
];

thread_local! {
    static SIGNER: Signer = {
        let key = rcgen::KeyPair::generate().unwrap();
        Signer::from_pem(key.serialize_pem().as_bytes(), "https://fuzz").unwrap()
    };
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Feeds one parser; the error shows the input.
fn feed(target: &Target, seed: u64, rounds: u64) -> Result<(), String> {
    let clock = RealClock::new();
    let chance = Simulation::new(seed);
    let mut slowest = Duration::ZERO;
    let last = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(target.name);
    for round in 0..rounds {
        let input = mutate::input(&chance, target.examples, target.words);
        // What ends the whole process can only be found where it was written down before.
        let _ = std::fs::write(&last, &input);
        let began = clock.monotonic();
        let ended = catch_unwind(|| (target.run)(&input));
        let took = clock.monotonic() - began;
        let shown = || {
            String::from_utf8_lossy(&input)
                .chars()
                .take(4000)
                .collect::<String>()
        };
        if ended.is_err() {
            return Err(format!(
                "{} seed {seed} round {round}: {:?}",
                target.name,
                shown()
            ));
        }
        if took > INPUT_TIME_MAX {
            return Err(format!("{} took {took:?}: {:?}", target.name, shown()));
        }
        slowest = slowest.max(took);
    }
    println!(
        "{}: {rounds} inputs from seed {seed}, slowest {slowest:?}",
        target.name
    );
    Ok(())
}

#[test]
fn no_parser_of_client_bytes_panics_or_hangs() {
    let seed = variable("HANSE_SEED").unwrap_or(1);
    let rounds = variable("HANSE_ROUNDS").unwrap_or(400);
    let only = std::env::var("HANSE_FUZZ_TARGET").ok();
    let fuzz = move || fuzz(seed, rounds, only.as_deref());
    // As much as the server's threads have.
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(fuzz);
    let failed = thread.unwrap().join().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn fuzz(seed: u64, rounds: u64, only: Option<&str>) -> Vec<String> {
    let mut failed = Vec::new();
    for target in TARGETS
        .iter()
        .filter(|t| only.is_none_or(|name| name == t.name))
    {
        failed.extend(feed(target, seed, rounds).err());
    }
    failed
}

/// A parser that panics at one letter in one place is found.
#[test]
fn a_planted_panic_is_found() {
    let target = Target {
        name: "planted",
        examples: &["ab"],
        words: &["x"],
        run: |input| assert!(!input.windows(2).any(|pair| pair == b"bx"), "planted"),
    };
    assert!(feed(&target, 1, 5_000).is_err());
}

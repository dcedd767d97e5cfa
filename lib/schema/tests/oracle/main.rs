//! The same questions to us and to Kubernetes' apiextensions-apiserver: equal answers.
//!
//! The oracle is the Go program `e2e/oracles/schema`; its path comes in `HANSE_ORACLE_SCHEMA`.
//! Without it the tests say so and pass. `HANSE_SEED` chooses the questions, `HANSE_ROUNDS`
//! how many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod definitions;
mod random;
mod rules;
mod schemas;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use hanse_schema::field::{ErrorList, ErrorType};
use hanse_schema::openapi::{self, Version};
use hanse_schema::{Schema, crd};
use random::Random;
use serde_json::{Value, json};

struct Oracle {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Oracle {
    fn start() -> Option<Oracle> {
        let Ok(path) = std::env::var("HANSE_ORACLE_SCHEMA") else {
            eprintln!("skipped: HANSE_ORACLE_SCHEMA names no oracle (see e2e/oracles/schema)");
            return None;
        };
        let mut command = Command::new(&path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{path}: {e}"));
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Oracle { child, answers })
    }

    fn ask(&mut self, question: &Value) -> Value {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{question}").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?} for {question}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// An error text without the Go structs in it: Kubernetes normalises defaults in the definition
/// that it then prints, and tells empty from absent there.
fn without_structs(text: String) -> String {
    // Kubernetes puts a clock into the name of the type of `self`.
    let parts: Vec<&str> = text.split("selfType").collect();
    let digit = |c: char| c.is_ascii_digit();
    let parts: Vec<&str> = parts
        .iter()
        .map(|part| part.trim_start_matches(digit))
        .collect();
    let text = parts.join("selfType");
    for start in ["[{\"Name\"", "{\"ID\"", "{\"Schema\""] {
        if let Some(from) = text.find(start)
            && let Some(to) = text.rfind(['}', ']'])
            && let Some(detail) = text.get(to + 1..)
        {
            return format!("{}...{detail}", &text[..from]);
        }
    }
    text
}

/// Errors as the oracle writes them; Go walks maps in any order, so they are sorted.
fn errors(list: &ErrorList) -> Vec<String> {
    let each = list
        .iter()
        .map(|e| format!("{} {} | {e}", e.cause_reason(), e.field));
    let mut out: Vec<String> = each.map(without_structs).collect();
    out.sort();
    out
}

fn oracle_errors(list: &Value) -> Vec<String> {
    let text = |e: &Value, key: &str| e[key].as_str().unwrap().to_owned();
    let line = |e: &Value| {
        format!(
            "{} {} | {}",
            text(e, "type"),
            text(e, "field"),
            text(e, "text")
        )
    };
    let each = list.as_array().into_iter().flatten();
    let mut out: Vec<String> = each.map(line).map(without_structs).collect();
    out.sort();
    out
}

/// What differed, as far as it is shown.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        question: &Value,
        ours: &T,
        theirs: &T,
    ) {
        if ours != theirs {
            self.0.push(format!(
                "{what} differ\nquestion: {question}\nours:   {ours:#?}\ntheirs: {theirs:#?}"
            ));
        }
    }

    /// A few differences tell more than one.
    fn is_full(&self) -> bool {
        self.0.len() >= number("HANSE_ORACLE_DIFFERENCES", 5) as usize
    }

    fn finish(self, what: &str) {
        assert!(self.0.is_empty(), "{what}:\n{}", self.0.join("\n\n"));
    }
}

/// One random object under one random schema.
fn random_round(oracle: &mut Oracle, random: &mut Random, report: &mut Report) {
    let schema = schemas::root(random);
    object_round(oracle, random, report, &schema);
}

/// One random object under a schema.
fn object_round(oracle: &mut Oracle, random: &mut Random, report: &mut Report, schema: &Value) {
    let new = schemas::object(random, schema);
    let mut question = json!({"schema": schema, "new": new});
    if random.chance(50) {
        question["old"] = schemas::neighbour(random, schema, &new);
    }
    let answer = oracle.ask(&question);
    if answer["failed"]
        .as_str()
        .is_some_and(|why| why.starts_with("panic"))
    {
        // Kubernetes itself stumbles over a fieldPath into untyped additional properties.
        return;
    }
    let compiled = match Schema::compile(schema) {
        Ok(compiled) => compiled,
        Err(ours) => {
            let theirs = answer["failed"].as_str().unwrap_or_else(|| {
                panic!("only we refuse the schema: {ours}\nquestion: {question}")
            });
            return report.compare("refusals", &question, &ours.to_string().as_str(), &theirs);
        }
    };
    let mut object = new.clone();
    let dropped = compiled.coerce(&mut object, false);
    if let Some(theirs) = answer["failed"].as_str() {
        let old = question.get("old").cloned();
        let ours = dropped
            .err()
            .or_else(|| compiled.coerce(&mut old?, false).err());
        return report.compare("decode errors", &question, &ours.as_deref(), &Some(theirs));
    }
    let dropped = dropped.unwrap_or_else(|e| panic!("only we refuse: {e}\n{question}"));
    let theirs = answer["dropped"].as_array().into_iter().flatten();
    let theirs: Vec<String> = theirs.map(|p| p.as_str().unwrap().to_owned()).collect();
    report.compare("dropped fields", &question, &dropped, &theirs);
    let text = hanse_json::to_string;
    report.compare(
        "pruned objects",
        &question,
        &text(&object),
        &text(&answer["pruned"]),
    );
    compiled.default(&mut object);
    report.compare(
        "defaulted objects",
        &question,
        &text(&object),
        &text(&answer["defaulted"]),
    );
    let old = question.get("old").cloned().map(|mut old| {
        compiled.coerce(&mut old, false).unwrap();
        compiled.default(&mut old);
        old
    });
    let found = compiled.validate(&object, old.as_ref());
    let ours = errors(&found);
    report.compare(
        "errors",
        &question,
        &ours,
        &oracle_errors(&answer["errors"]),
    );
    // Rules see only values of the right types, also where ratcheting lets others be.
    let is_blocked = |value: &Value| {
        let found = compiled.validate(value, None);
        found.iter().any(|error| error.ty == ErrorType::TypeInvalid)
    };
    if is_blocked(&object) || old.as_ref().is_some_and(is_blocked) {
        return;
    }
    let outcome = compiled.validate_cel(&object, old.as_ref(), hanse_schema::rules::OBJECT_BUDGET);
    // Where the original stops by a panic of Go (it compares sets of objects by hashing them), its
    // words are no answer that anybody could want.
    let stopped = answer["rules"]
        .to_string()
        .contains("internal error: runtime error");
    if stopped {
        return;
    }
    let ours = errors(&outcome.errors);
    report.compare("rules", &question, &ours, &oracle_errors(&answer["rules"]));
}

#[test]
fn objects() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let seed = number("HANSE_SEED", 1);
    let rounds = number("HANSE_ROUNDS", 4000);
    let mut report = Report::default();
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        random_round(&mut oracle, &mut random, &mut report);
        if report.is_full() {
            break;
        }
    }
    report.finish("objects");
    println!("seed {seed}: {rounds} objects, equal answers");
}

/// Definitions that others wrote, one JSON object a line in the file that
/// `HANSE_ORACLE_DEFINITIONS` names, and random objects of them.
#[test]
fn of_others() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let Ok(path) = std::env::var("HANSE_ORACLE_DEFINITIONS") else {
        eprintln!("skipped: HANSE_ORACLE_DEFINITIONS names no file of definitions");
        return;
    };
    let rounds = number("HANSE_ORACLE_ROUNDS", 50);
    let seed = number("HANSE_SEED", 1);
    let mut report = Report::default();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    for line in text.lines() {
        let mut crd: Value = serde_json::from_str(line).unwrap();
        let question = json!({"crd": crd});
        let answer = oracle.ask(&question);
        crd::default(&mut crd);
        let ours = errors(&crd::validate_create(&crd));
        report.compare(
            "errors",
            &crd["metadata"],
            &ours,
            &oracle_errors(&answer["errors"]),
        );
        for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
            let schema = &version["schema"]["openAPIV3Schema"];
            for round in 0..rounds {
                let mut random = Random::new(seed.wrapping_mul(104_729).wrapping_add(round));
                object_round(&mut oracle, &mut random, &mut report, schema);
                if report.is_full() {
                    return report.finish("definitions of others");
                }
            }
        }
    }
    report.finish("definitions of others");
}

/// One random definition, or a change of one.
fn definition_round(oracle: &mut Oracle, random: &mut Random, report: &mut Report) {
    let mut new = definitions::definition(random);
    let mut question = json!({"crd": new});
    let mut old = None;
    if random.chance(40) {
        let mut before = definitions::neighbour(random, &new);
        question["oldCRD"] = before.clone();
        crd::default(&mut before);
        old = Some(before);
    }
    let answer = oracle.ask(&question);
    if let Some(why) = answer["failed"].as_str() {
        if why.starts_with("panic") {
            // Kubernetes itself stumbles over selectable fields of some refused schemas.
            return;
        }
        panic!("the oracle cannot read the question: {why}\n{question}");
    }
    crd::default(&mut new);
    let found = match &old {
        None => crd::validate_create(&new),
        Some(old) => crd::validate_update(&new, old),
    };
    report.compare(
        "errors",
        &question,
        &errors(&found),
        &oracle_errors(&answer["errors"]),
    );
}

#[test]
fn definitions() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let seed = number("HANSE_SEED", 1);
    let rounds = number("HANSE_ROUNDS", 3000);
    let mut report = Report::default();
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_mul(999_983).wrapping_add(round));
        definition_round(&mut oracle, &mut random, &mut report);
        if report.is_full() {
            break;
        }
    }
    report.finish("definitions");
    println!("seed {seed}: {rounds} definitions, equal answers");
}

/// One random schema as clients see it.
fn published_round(oracle: &mut Oracle, random: &mut Random, report: &mut Report) {
    let schema = schemas::root(random);
    let Ok(compiled) = Schema::compile(&schema) else {
        return;
    };
    let selectable: &[String] = if random.chance(20) {
        &[".spec".to_owned()]
    } else {
        &[]
    };
    let fields: Vec<Value> = selectable
        .iter()
        .map(|path| json!({"jsonPath": path}))
        .collect();
    let question = json!({"published": true, "crd": {"metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1",
                "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "selectableFields": fields}]}}});
    let answer = oracle.ask(&question);
    assert!(answer.get("failed").is_none(), "{answer} for {question}");
    let names = openapi::Names {
        group: "example.com",
        version: "v1",
        kind: "Thing",
        list_kind: "ThingList",
        plural: "things",
    };
    for (key, version) in [("v2", Version::V2), ("v3", Version::V3)] {
        let ours = openapi::object(Some(&compiled), &names, selectable, version);
        let name = openapi::name("example.com", "v1", "Thing");
        let text = hanse_json::to_string;
        report.compare(key, &question, &text(&ours), &text(&answer[key][&name]));
        let ours = openapi::list(&names, selectable, version);
        let theirs = &answer[key][format!("{name}List")];
        report.compare(
            &format!("{key} lists"),
            &question,
            &text(&ours),
            &text(theirs),
        );
    }
}

#[test]
fn published() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let seed = number("HANSE_SEED", 1);
    let rounds = number("HANSE_ROUNDS", 300).min(1000);
    let mut report = Report::default();
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_mul(7919).wrapping_add(round));
        published_round(&mut oracle, &mut random, &mut report);
        if report.is_full() {
            break;
        }
    }
    report.finish("published schemas");
    println!("seed {seed}: {rounds} published schemas, equal answers");
}

const PATTERN_PARTS: &[&str] = &[
    "a",
    "b",
    "z",
    "1",
    "-",
    "_",
    " ",
    "é",
    "ſ",
    "K",
    ".",
    "^",
    "$",
    "|",
    "(",
    ")",
    "(?:",
    "(?i)",
    "(?s)",
    "(?m)",
    "(?U)",
    "(?P<n>",
    "(?<n>",
    "(?=",
    "[",
    "]",
    "[^",
    "a-z",
    "[[:alpha:]]",
    "[a&&b]",
    "[a--b]",
    "[]a]",
    "[a-]",
    "\\d",
    "\\D",
    "\\w",
    "\\W",
    "\\s",
    "\\S",
    "\\b",
    "\\B",
    "\\z",
    "\\A",
    "\\pL",
    "\\p{Lu}",
    "\\p{Greek}",
    "\\P{L}",
    "\\x41",
    "\\x{e9}",
    "\\n",
    "\\t",
    "\\.",
    "\\-",
    "\\/",
    "\\1",
    "\\Q",
    "\\E",
    "\\C",
    "\\u0041",
    "*",
    "+",
    "?",
    "{2}",
    "{1,2}",
    "{,2}",
    "{2,1}",
    "{1001}",
    "{",
    "}",
    "**",
    "*?",
    "\\07",
    "\\8",
    "#",
    "~",
    "&",
];

/// One random pattern against one random text.
fn pattern_round(oracle: &mut Oracle, random: &mut Random, report: &mut Report) {
    let pattern: String = (0..1 + random.below(5))
        .map(|_| random.pick(PATTERN_PARTS))
        .collect();
    let text: String = (0..random.below(5))
        .map(|_| {
            random.pick(&[
                "a", "b", "A", "1", "-", "_", " ", "é", "K", "\n", "]", "&", ".",
            ])
        })
        .collect();
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "string", "pattern": pattern}}});
    let new = json!({"metadata": {}, "spec": text});
    let question = json!({"schema": schema, "new": new});
    let answer = oracle.ask(&question);
    let ours = match Schema::compile(&schema) {
        Err(refused) => Err(refused.to_string()),
        Ok(compiled) => Ok(compiled.validate(&new, None).is_empty()),
    };
    let theirs = match answer["failed"].as_str() {
        Some(why) => Err(why.to_owned()),
        None => Ok(answer["errors"].as_array().unwrap().is_empty()),
    };
    report.compare("patterns", &question, &ours, &theirs);
}

#[test]
fn patterns() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let seed = number("HANSE_SEED", 1);
    let rounds = number("HANSE_ORACLE_ROUNDS", 4000);
    let mut report = Report::default();
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_mul(15_485_863).wrapping_add(round));
        pattern_round(&mut oracle, &mut random, &mut report);
        if report.is_full() {
            break;
        }
    }
    report.finish("patterns");
    println!("seed {seed}: {rounds} patterns, equal answers");
}

#[test]
fn the_questions_are_worth_asking() {
    // The generator must reach both outcomes often, or equal answers prove little.
    let (mut good, mut bad, mut refused) = (0, 0, 0);
    for round in 0..300 {
        let mut random = Random::new(round);
        let schema = schemas::root(&mut random);
        let mut object = schemas::object(&mut random, &schema);
        match Schema::compile(&schema) {
            Err(_) => refused += 1,
            Ok(compiled) => {
                if compiled.coerce(&mut object, false).is_err() {
                    continue;
                }
                compiled.default(&mut object);
                if compiled.validate(&object, None).is_empty() {
                    good += 1
                } else {
                    bad += 1
                }
            }
        }
    }
    assert!(
        good > 40 && bad > 50 && refused > 3,
        "{good} good, {bad} bad, {refused} refused"
    );
}

//! Compares this crate with cel-go and Kubernetes' environment, answer by answer.
//!
//! `HANSE_ORACLE_CEL` names the built program of `e2e/oracles/cel`; without it these tests say so and do
//! nothing. Start at [`differences`]: type, estimated cost, value or error and runtime cost have to be
//! equal, error texts too. What is known to differ is listed in [`KNOWN`], with the reason.
//! `HANSE_SEED` and `HANSE_ROUNDS` choose the random expressions and how many there are.

// The helpers below are no tests themselves, and a failing one is a failing test.
#![allow(clippy::expect_used, clippy::panic)]

mod generate;
mod render;

use hanse_cel::{Binding, Budget, CompileError, DeclType, Decls, Env, Value};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Parts of answers that are allowed to differ: what the expression or the answer of the original
/// contains, and why.
const KNOWN: [(&str, &str); 5] = [
    (
        "Syntax error:",
        "after the first syntax error the original goes on differently",
    ),
    (
        "error parsing regexp:",
        "the texts of Go's regular expression parser",
    ),
    ("internal error:", "a panic inside of cel-go"),
    (
        "error(invalid data",
        "lists can hold errors in Go; here the first of them fails the list",
    ),
    (
        "google.protobuf.",
        "messages of protobuf are not part of this crate",
    ),
];

/// The variables of all expressions: a custom resource, an optional one, and JSON as it comes.
struct Input {
    schema: Json,
    object: Json,
    anything: Json,
}

impl Input {
    /// The usual one, with bounds; and one with hardly any, with nulls, gaps and other types.
    fn all() -> [Self; 2] {
        [include_str!("input.json"), include_str!("input2.json")].map(Self::new)
    }

    fn new(text: &str) -> Self {
        let parts: Json = serde_json::from_str(text).expect("the input is JSON");
        Self {
            schema: parts["schema"].clone(),
            object: parts["object"].clone(),
            anything: parts["anything"].clone(),
        }
    }

    fn decls(&self) -> Decls {
        let root = DeclType::from_schema(&self.schema, true).expect("a schema with a type");
        Decls::new()
            .variable("self", root.clone().named("selfType"))
            .variable("oldSelf", DeclType::optional(root.named("oldSelfType")))
            .variable("d", DeclType::any())
    }

    fn request(&self, expr: &str) -> Json {
        json!({"expr": expr, "vars": {
            "self": {"schema": self.schema, "root": true, "value": self.object},
            "oldSelf": {"schema": self.schema, "root": true, "value": self.object,
                        "optional": true},
            "d": {"value": self.anything},
        }})
    }
}

/// What came of an expression, in the words of the oracle: field by field.
type Answer = std::collections::BTreeMap<String, String>;

fn ours(input: &Input, decls: &Decls, expr: &str) -> Answer {
    let mut answer = Answer::new();
    let mut put = |name: &str, text: String| {
        answer.insert(name.to_owned(), text);
    };
    let program = match Env::for_stored_expressions().compile(expr, decls) {
        Ok(program) => program,
        Err(CompileError::Issues { text, .. }) => {
            put("compileError", text);
            return answer;
        }
        // The original estimates before it plans; the estimate of a broken program is not ours to give.
        Err(CompileError::Program(text)) => {
            put("programError", text);
            return answer;
        }
    };
    put("type", program.result_type().to_string());
    let estimate = program.cost_estimate();
    put("min", estimate.min.to_string());
    put("max", estimate.max.to_string());
    let object = decls_object(input, decls);
    let variables = |name: &str| match name {
        "self" => Binding::Json(&input.object),
        "oldSelf" => Binding::Value(object.clone()),
        _ => Binding::Json(&input.anything),
    };
    let (result, cost) = program.eval(&variables, Budget::default());
    put("cost", cost.to_string());
    match result {
        Ok(value) => put("value", render::value(&value)),
        Err(error) => put("error", error.to_string()),
    }
    answer
}

/// `optional.of(self)`, made by an expression.
fn decls_object<'a>(input: &'a Input, _decls: &Decls) -> Value<'a> {
    let root = DeclType::from_schema(&input.schema, true).expect("a schema with a type");
    let decls = Decls::new().variable("self", root.named("selfType"));
    let program = Env::for_stored_expressions()
        .compile("self", &decls)
        .expect("a variable");
    let program: &'static hanse_cel::Program = Box::leak(Box::new(program));
    let (value, _) = program.eval(&|_| Binding::Json(&input.object), Budget::default());
    Value::Optional(Some(Arc::new(value.expect("the object"))))
}

fn theirs(input: &Input, exprs: &[String]) -> Option<Vec<Answer>> {
    let Ok(path) = std::env::var("HANSE_ORACLE_CEL") else {
        println!("skipped: HANSE_ORACLE_CEL does not name the oracle built from e2e/oracles/cel");
        return None;
    };
    let mut child = Command::new(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let lines: Vec<String> = exprs.iter().map(|e| input.request(e).to_string()).collect();
    let answers = std::thread::scope(|scope| {
        scope.spawn(move || {
            for line in lines {
                writeln!(stdin, "{line}").expect("the oracle reads");
            }
        });
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let read = |line: std::io::Result<String>| {
            serde_json::from_str(&line.expect("a line")).expect("an answer")
        };
        stdout.lines().map(read).collect::<Vec<Answer>>()
    });
    child.wait().expect("the oracle ends");
    assert_eq!(answers.len(), exprs.len(), "one answer for each expression");
    Some(answers)
}

/// Compares; returns how many were equal and what was not.
fn differences(input: &Input, exprs: &[String]) -> Option<(usize, Vec<String>)> {
    let decls = input.decls();
    let theirs = theirs(input, exprs)?;
    let mut wrong = Vec::new();
    let mut known = 0;
    for (expr, mut theirs) in exprs.iter().zip(theirs) {
        let mut ours = ours(input, &decls, expr);
        let failed = |a: &Answer| !a.contains_key("value");
        if theirs.contains_key("programError") {
            theirs.retain(|name, _| name == "programError");
        }
        let all: String = theirs.values().cloned().collect::<Vec<_>>().join("\n");
        let excused = KNOWN
            .iter()
            .any(|(part, _)| all.contains(part) || expr.contains(part));
        // Of several syntax errors the first has to be the same, unless a macro complains before.
        let by_macro = ["macro", "argument must be", "argument is not"];
        let by_macro = by_macro.iter().any(|text| all.contains(text));
        let syntax = all.contains("Syntax error:") && !by_macro;
        let excused = excused && (!syntax || first_line(&ours) == first_line(&theirs));
        // A list that holds an error may even go unnoticed in Go.
        let error = ours.get("error");
        if error.is_some_and(|text| text.starts_with("invalid data")) {
            known += 1;
            continue;
        }
        if excused && failed(&ours) == failed(&theirs) {
            known += 1;
            continue;
        }
        if ours != theirs {
            ours.retain(|name, text| theirs.get(name) != Some(text));
            theirs.retain(|name, text| ours.get(name) != Some(text));
            wrong.push(format!("{expr}\n    ours: {ours:?}\n  theirs: {theirs:?}"));
        }
    }
    println!(
        "{} compared, {known} of them known to differ in text",
        exprs.len()
    );
    Some((exprs.len() - wrong.len(), wrong))
}

fn first_line(a: &Answer) -> String {
    let text = a.get("compileError").map_or("", String::as_str);
    text.lines().next().unwrap_or_default().to_owned()
}

fn demand_equality(input: &Input, exprs: &[String]) {
    let Some((_, wrong)) = differences(input, exprs) else {
        return;
    };
    let shown = wrong
        .iter()
        .take(60)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{shown}",
        wrong.len(),
        exprs.len()
    );
}

fn corpus(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with("# "));
    lines.map(|l| l.replace('⏎', "\n")).collect()
}

#[test]
fn the_corpus_is_answered_alike() {
    for input in Input::all() {
        demand_equality(&input, &corpus(include_str!("corpus.txt")));
    }
}

#[test]
fn random_expressions_are_answered_alike() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    let (seed, count) = (number("HANSE_SEED", 1), number("HANSE_ROUNDS", 3000));
    println!("seed {seed}");
    for (i, input) in Input::all().iter().enumerate() {
        let exprs = generate::expressions(seed.wrapping_mul(2) + i as u64, count as usize / 2);
        demand_equality(input, &exprs);
    }
}

//! Whatever comes in, compiling and evaluating end within their bounds and do not panic.

// The helpers below are no tests themselves, and a failing one is a failing test.
#![allow(clippy::expect_used, clippy::panic)]

use hanse_cel::{Binding, Budget, DeclType, Decls, Env, ListKind, limits};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn decls() -> Decls {
    let list = DeclType::list(DeclType::string(Some(10)), ListKind::Atomic, None);
    let fields = [
        ("s".to_owned(), DeclType::string(None)),
        ("n".to_owned(), DeclType::int()),
        ("l".to_owned(), list),
        ("m".to_owned(), DeclType::map(DeclType::int(), Some(3))),
    ];
    let root = DeclType::object(fields.into(), &[]).named("self");
    Decls::new()
        .variable("self", root)
        .variable("d", DeclType::any())
}

/// Compiles and, if that succeeds, evaluates with a small budget.
fn exercise(text: &str, object: &Json) {
    let Ok(program) = Env::for_stored_expressions().compile(text, &decls()) else {
        return;
    };
    let budget = Budget {
        cost: 20_000,
        ..Budget::default()
    };
    let estimate = program.cost_estimate();
    let (result, cost) = program.eval(&|_| Binding::Json(object), budget);
    if result.is_ok() {
        assert!(cost <= budget.cost, "{text}: spent {cost}");
        // Where nothing is dynamic the estimate is a bound; here it only has to be ordered.
        assert!(
            estimate.min <= estimate.max || estimate.max == u64::MAX,
            "{text}: {estimate:?}"
        );
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "self",
        ".",
        "s",
        "n",
        "l",
        "m",
        "d",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "?",
        ":",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        ">",
        "in",
        "1",
        "0",
        "-1",
        "2u",
        "1.5",
        "'a'",
        "\"b\"",
        "b'c'",
        "true",
        "null",
        ".all(x, ",
        ".map(x, ",
        ".filter(x, ",
        "x",
        "has(",
        "size(",
        ".exists(i, v, ",
        ".?",
        "[?",
        ".optMap(y, ",
        ".orValue(",
        "lists.range(",
        "string(",
        "int(",
        ".sum()",
        ".matches(",
        ".replace('', ",
        ".split('')",
        ".format([",
        ".join('-')",
        "duration('1h')",
        "timestamp(0)",
        "quantity('1Gi')",
        "9223372036854775807",
        "// c\n",
        " ",
    ])
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map("[a-z]{1,3}|s|n|l|m", inner, 0..5)
                .prop_map(|m| Json::from_iter(m.into_iter())),
        ]
    })
}

/// Parts of patterns, most of them unfinished: what comes behind or nothing at all has to be survived.
fn piece() -> impl Strategy<Value = String> {
    const PARTS: [&str; 44] = [
        "\\",
        "\\x",
        "\\x{",
        "\\p",
        "\\p{",
        "\\pN",
        "\\P{Greek",
        "\\Q",
        "\\E",
        "\\0",
        "\\1",
        "\\77",
        "\\d",
        "\\W",
        "\\b",
        "\\C",
        "\\z",
        "[",
        "]",
        "[^",
        "[:",
        ":]",
        "[:alpha:]",
        "-",
        "^",
        "$",
        ".",
        "|",
        "(",
        ")",
        "(?",
        "(?i",
        "(?P<",
        "(?<a>",
        ">",
        ":",
        "{",
        "}",
        "{2",
        "{2,",
        "{9999}",
        "*",
        "+?",
        "??",
    ];
    prop_oneof![
        4 => prop::sample::select(PARTS.as_slice()).prop_map(str::to_owned),
        1 => "[0-9a-fA-F,é]",
        1 => "\\PC",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_survived(text in "\\PC{0,60}") {
        exercise(&text, &json!({}));
    }

    #[test]
    fn arbitrary_tokens_are_survived(
        tokens in prop::collection::vec(token(), 0..24),
        object in any_json(),
    ) {
        exercise(&tokens.concat(), &object);
    }

    #[test]
    fn objects_that_contradict_their_schema_are_survived(object in any_json()) {
        for rule in [
            "self.s.size() > 0 && self.l.all(x, x != '') && self.m.all(k, self.m[k] > 0)",
            "self == self && self.l + self.l == self.l && d == self",
            "d.all(x, d.exists(y, x == y)) || d.size() > 1 || d.a.b[0] == d",
            "self.?s.orValue('') + string(self.n) != d.s",
        ] {
            exercise(rule, &object);
        }
    }

    #[test]
    fn arbitrary_patterns_are_survived(
        text in "[ -~é]{0,20}",
        pieces in prop::collection::vec(piece(), 0..8),
    ) {
        for pattern in [text, pieces.concat()] {
            exercise("'abc'.matches(d.p)", &json!({ "p": pattern }));
        }
    }
}

/// Depth that a parser recursing without a bound would not survive. An optimised build gets by with half
/// of the stack that threads have by default; one for debugging needs more.
#[test]
fn nesting_is_bounded() {
    let stack = if cfg!(debug_assertions) {
        24 << 20
    } else {
        1 << 20
    };
    let deep = std::thread::Builder::new()
        .stack_size(stack)
        .spawn(nest)
        .expect("a thread");
    deep.join().expect("no panic");
}

fn nest() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1: ", "}"),
        ("!", ""),
        ("-", ""),
        ("!(", ")"),
        ("size(", ")"),
        ("[1].map(x, ", ")"),
        ("[1].all(x, ", ")"),
        ("true ? 1 : ", ""),
        ("optional.of(1).optMap(x, ", ")"),
        ("1 + ", ""),
        ("true && ", ""),
        ("'a'.replace('a', ", ")"),
    ] {
        for depth in [100, 240, 100_000_usize] {
            let depth = depth.min(limits::EXPRESSION_CODE_POINTS / (open.len() + close.len()) - 1);
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            exercise(&text, &json!({}));
        }
    }
    let chain = |part: &str| format!("self.l{}", part.repeat(200));
    for part in [
        ".x",
        "[0]",
        ".map(x, x)",
        ".optMap(x, x)",
        ".?x",
        " + self.l",
    ] {
        exercise(&chain(part), &json!({"l": ["a"]}));
    }
}

/// Results that grow far faster than what they cost.
#[test]
fn memory_is_bounded() {
    for rule in [
        "lists.range(9223372036854775807).size() == 1",
        "'%.9000000f'.format([1.0]).size() == 1",
        "d.big.replace('', d.big).replace('', d.big).size() == 1",
        "d.big.split('').map(x, d.big).join(d.big).size() == 1",
        "[d.big].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).size() == 1",
    ] {
        exercise(rule, &json!({ "big": "x".repeat(4000) }));
    }
    let mut doubling = "optional.of([1, 2, 3, 4])".to_owned();
    for _ in 0..14 {
        doubling = format!("optional.of({doubling}.value() + {doubling}.value())");
        if doubling.len() > 50_000 {
            break;
        }
    }
    exercise(&format!("{doubling}.value().size() == 1"), &json!({}));
}

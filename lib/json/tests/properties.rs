//! What must hold for every document: round trips, one canonical form, scan agrees with parse.

#![allow(clippy::unwrap_used)]

use hanse_json::{Limits, Map, Value, equal, get, parse, scan, to_vec, to_vec_pretty};
use proptest::prelude::*;

fn tree() -> impl Strategy<Value = Value> {
    tree_of(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
}

fn tree_of(floats: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        floats.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

fn read(bytes: &[u8]) -> Value {
    parse(bytes, &Limits::default()).unwrap().value
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in tree()) {
        let bytes = to_vec(&value);
        let back = read(&bytes);
        prop_assert!(equal(&value, &back), "{value} became {back}");
        prop_assert_eq!(&bytes, &to_vec(&back), "the form is a fixed point");
        prop_assert!(equal(&value, &read(&to_vec_pretty(&value))));
    }

    #[test]
    // The other reader may be off by one bit in long floats, so these are short.
    fn another_reader_agrees(value in tree_of(any::<i32>().prop_map(|n| f64::from(n) / 8.0))) {
        let other: Value = serde_json::from_slice(&to_vec(&value)).unwrap();
        prop_assert!(equal(&value, &other), "{value} became {other}");
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let ours = parse(&bytes, &Limits::default());
        let theirs = serde_json::from_slice::<Value>(&bytes);
        // Ours is more lenient in one thing only: broken Unicode is replaced.
        if theirs.is_ok() {
            prop_assert!(ours.is_ok());
        }
        let _ = scan::find(&bytes, &["a", "b"]);
        prop_assert!(scan::items(&bytes).count() <= bytes.len());
    }

    #[test]
    fn json_like_bytes_are_answered(text in "[\\[\\]{}\",:0-9a-z\\\\ .+-]{0,48}") {
        let ours = parse(text.as_bytes(), &Limits::default());
        match serde_json::from_str::<Value>(&text) {
            Ok(theirs) => prop_assert!(equal(&ours.unwrap().value, &theirs)),
            Err(_) => if let Ok(parsed) = ours {
                // The other reader refuses lone surrogates, which we replace as Go does.
                prop_assert!(text.contains("\\u"), "{text} became {}", parsed.value);
            }
        }
    }

    #[test]
    fn scanning_finds_what_parsing_finds(value in tree(), a in any::<String>()) {
        let bytes = to_vec(&value);
        let mut keys = vec![a];
        if let Value::Object(map) = &value {
            keys.extend(map.keys().cloned());
        }
        for key in &keys {
            let raw = scan::find(&bytes, &[key]).map(read);
            let parsed = get(&value, &[key]);
            prop_assert_eq!(raw.is_some(), parsed.is_some());
            if let (Some(raw), Some(parsed)) = (raw, parsed) {
                prop_assert!(equal(&raw, parsed));
            }
        }
    }
}

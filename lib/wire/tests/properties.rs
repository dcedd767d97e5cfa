//! Strangers' text never panics, and what is accepted means the same when it is written again.

use hanse_json::json;
use hanse_wire::jsonpath::JsonPath;
use hanse_wire::query::Query;
use hanse_wire::selector::{FieldSelector, LabelSelector};
use hanse_wire::{continue_token, negotiate, options, time, yaml};
use proptest::prelude::*;

proptest! {
    #[test]
    fn label_selectors_survive_rewriting(text in "[a-c=!()<>, \tin0-9/.-]{0,24}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string());
            prop_assert!(again.is_ok(), "{text} became {selector}");
            for value in ["a", "b", "0", ""] {
                let get = |key: &str| key.starts_with('a').then_some(value);
                let same = again.as_ref().is_ok_and(|s| s.matches(get) == selector.matches(get));
                prop_assert!(same, "{text} became {selector}");
            }
        }
    }

    #[test]
    fn field_selectors_survive_rewriting(text in "[a-c=!,.\\\\]{0,24}") {
        if let Ok(selector) = FieldSelector::parse(&text) {
            let again = FieldSelector::parse(&selector.to_string());
            prop_assert!(again.is_ok(), "{text} became {selector}");
        }
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let _ = JsonPath::parse(&text).map(|path| path.find(&json!({"a": [1, {"b": 2}]})).len());
        let _ = yaml::parse(text.as_bytes());
        let _ = continue_token::Token::decode(&text);
        let _ = time::parse(&text);
        let _ = options::go_duration(&text);
        let query = Query::parse(&text);
        let _ = options::ListOptions::from_query(&query).map(|options| options.validate().is_ok());
        let wanted = negotiate::Wanted { accept: Some(&text), ..Default::default() };
        let _ = negotiate::output(&wanted, negotiate::Forms::RESOURCE);
        let _ = negotiate::input(Some(&text));
    }

    #[test]
    fn paths_are_answered(text in "[.a-c\\[\\]*0-9:?@='\"()$<>!-]{0,24}") {
        let value = json!({"a": [1, 2, {"b": "c", "c": {"a": 1}}], "b": {"c": 2}});
        let _ = JsonPath::parse(&text).map(|path| path.find(&value).len());
    }

    #[test]
    fn times_survive(micros in 0i64..4_102_444_800_000_000) {
        prop_assert_eq!(time::parse(&time::format_micro(micros)), Some(micros));
        let whole = micros - micros % 1_000_000;
        prop_assert_eq!(time::parse(&time::format(micros)), Some(whole));
    }
}

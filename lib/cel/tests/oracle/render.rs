//! Values as text, by the same rules as the oracle writes them.

use hanse_cel::{Key, Map, Value};

pub fn value(v: &Value<'_>) -> String {
    match v {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Uint(u) => format!("{u}u"),
        Value::Double(d) if d.is_nan() => "d7ff8000000000000".into(),
        Value::Double(d) => format!("d{:x}", d.to_bits()),
        Value::String(s) => quoted(s),
        Value::Bytes(b) => b
            .iter()
            .fold("b".into(), |text, b| format!("{text}{b:02x}")),
        Value::Duration(d) => format!("duration {d}"),
        Value::Timestamp(t) => format!("timestamp {t}"),
        Value::Type(name) => format!("type {}", &**name),
        Value::List(list) => {
            let items = (0..list.len()).map(|i| match list.get(i) {
                Ok(item) => value(&item),
                Err(e) => format!("error({e})"),
            });
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        Value::Map(map) => self::map(map),
        Value::Optional(Some(v)) => format!("some({})", value(v)),
        Value::Optional(None) => "none".into(),
        other => other.type_name().into(),
    }
}

fn map(map: &Map<'_>) -> String {
    let mut entries: Vec<String> = map
        .entries()
        .into_iter()
        .map(|(key, entry)| {
            let entry = match entry {
                Ok(v) => value(&v),
                Err(e) => format!("error({e})"),
            };
            format!("{}:{entry}", self::key(&key))
        })
        .collect();
    entries.sort();
    format!("{{{}}}", entries.join(","))
}

fn key(key: &Key<'_>) -> String {
    match key {
        Key::Null => "null".into(),
        Key::Bool(b) => b.to_string(),
        Key::Int(i) => i.to_string(),
        Key::Uint(u) => format!("{u}u"),
        Key::Double(bits) => format!("d{bits:x}"),
        Key::String(s) => quoted(s),
    }
}

fn quoted(s: &str) -> String {
    serde_json::Value::from(s)
        .to_string()
        .replace('\u{8}', "\\b")
        .replace('\u{c}', "\\f")
}

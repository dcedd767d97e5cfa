//! YAML in and out, as far as it is another spelling of JSON.
//!
//! Start at [`parse`]. Bodies of `application/yaml` and of apply patches are YAML, and kubectl
//! sends JSON under that name too, which takes the short way. Keys that stand twice are no error;
//! they come back with their line, in the words that Kubernetes uses. Budgets bound what aliases
//! can grow into. Booleans and octal numbers are those of YAML 1.1, as in Kubernetes.

use std::fmt;

use hanse_json::limits::MAX_STRICT_ERRORS;
use hanse_json::{Limits, Map, Value, json};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned};

/// Nodes of one document, aliases expanded.
const MAX_NODES: usize = 500_000;
/// Aliases in one document.
const MAX_ALIASES: usize = 1_000;
/// Nodes that aliases stand for: a few hundred bytes of them must not cost what megabytes do.
const MAX_ALIASED_NODES: usize = 20_000;
/// Deepest nesting. Less than JSON's: the reader calls itself for each level, with much more on
/// the stack than ours has.
const MAX_YAML_DEPTH: usize = 100;

/// A document, and what strict decoding would have objected to.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The tree. Where a key stood twice, the last value.
    pub value: Value,
    /// `line N: key "x" already set in map`, in the order of the document.
    pub duplicates: Vec<String>,
}

impl Parsed {
    /// The text that names the duplicates, as it stands in warnings and errors; `None` if there
    /// are none.
    pub fn duplicates_text(&self) -> Option<String> {
        let lines = self.duplicates.join("\n  ");
        (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {lines}"))
    }
}

/// Reads one YAML document.
///
/// # Errors
/// A text like `yaml: line 2: why` for what is no YAML, is too large, or has no form in JSON.
pub fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let begins = bytes.iter().find(|c| !c.is_ascii_whitespace());
    if begins == Some(&b'{')
        && let Ok(parsed) = hanse_json::parse(bytes, &Limits::default())
        && parsed.duplicates.is_empty()
    {
        return Ok(Parsed {
            value: parsed.value,
            duplicates: Vec::new(),
        });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "yaml: control characters are not allowed".to_owned())?;
    let node: Node = serde_saphyr::from_str_with_options(text, options()).map_err(|err| {
        let line = err
            .location()
            .map(|at| format!("line {}: ", at.line()))
            .unwrap_or_default();
        format!(
            "yaml: {line}{}",
            first_line(&err.without_snippet().to_string())
        )
    })?;
    let line = |(line, key): (u64, String)| {
        format!(
            "line {line}: key {} already set in map",
            hanse_json::go::quote(&key)
        )
    };
    let duplicates = node
        .duplicates
        .into_iter()
        .take(MAX_STRICT_ERRORS)
        .map(line)
        .collect();
    Ok(Parsed {
        value: node.value,
        duplicates,
    })
}

/// Writes a tree as one YAML document without separators.
pub fn to_string(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    serde_saphyr::to_string_with_options(value, options).unwrap_or_default()
}

fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_depth: MAX_YAML_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED_NODES,
        },
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[derive(Debug)]
struct Node {
    value: Value,
    duplicates: Vec<(u64, String)>,
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Node {
            value,
            duplicates: Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON knows")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Value::Null.into())
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Value::Null.into())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(json!(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(json!(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        // As in JSON: what does not fit becomes a float.
        Ok(i64::try_from(value)
            .map_or_else(|_| json!(value as f64), |n| json!(n))
            .into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        match value.is_finite() {
            true => Ok(json!(value).into()),
            false => Err(E::custom(format!("json: unsupported value: {value}"))),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(json!(value).into())
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Value::String(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let (mut items, mut duplicates) = (Vec::new(), Vec::new());
        while let Some(node) = access.next_element::<Node>()? {
            items.push(node.value);
            duplicates.extend(node.duplicates);
        }
        Ok(Node {
            value: Value::Array(items),
            duplicates,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let (mut map, mut duplicates) = (Map::new(), Vec::new());
        while let Some(key) = access.next_key::<Spanned<Key>>()? {
            let line = key.referenced.line();
            let Key(key) = key.value;
            let node = access.next_value::<Node>()?;
            if map.insert(key.clone(), node.value).is_some() {
                duplicates.push((line, key));
            }
            duplicates.extend(node.duplicates);
        }
        Ok(Node {
            value: Value::Object(map),
            duplicates,
        })
    }
}

/// A key of a mapping: scalars of all types become text, as Kubernetes has it.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Node::deserialize(deserializer)?;
        match node.value {
            Value::String(text) => Ok(Key(text)),
            Value::Null => Ok(Key("null".to_owned())),
            Value::Array(_) | Value::Object(_) => {
                Err(D::Error::custom("json: a map key has to be a scalar"))
            }
            scalar => Ok(Key(hanse_json::to_string(&scalar))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_manifests() {
        let text = "apiVersion: v1\nkind: ConfigMap # c\nmetadata:\n  name: x\n  labels: {a: 'b'}\n\
                    data:\n  m: \"1\"\n  text: |\n    two\n    lines\nlist:\n- 1\n- 1.5\n- yes\n- ~\n\
                    - 0x10\n- 010\n1: one\n";
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(
            parsed.value,
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "x", "labels": {"a": "b"}},
                "data": {"m": "1", "text": "two\nlines\n"},
                "list": [1, 1.5, true, null, 16, 8], "1": "one",
            })
        );
        // Unlikely as it looks: to Kubernetes' reader this key is a boolean.
        assert_eq!(parse(b"n: 1").unwrap().value, json!({"false": 1}));
        assert_eq!(parse(b" {\"a\": 1}").unwrap().value, json!({"a": 1}));
        assert_eq!(
            parse(b"a: &x {b: 1}\nc: *x").unwrap().value["c"],
            json!({"b": 1})
        );
    }

    #[test]
    fn names_duplicates_with_their_lines() {
        let parsed = parse(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap();
        assert_eq!(parsed.value, json!({"a": 3, "b": {"c": 2}}));
        assert_eq!(
            parsed.duplicates_text().as_deref(),
            Some(
                "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key \
                 \"a\" already set in map"
            )
        );
        assert_eq!(parse(b"{\"a\":1,\"a\":2}").unwrap().duplicates.len(), 1);
        assert_eq!(parse(b"a: 1").unwrap().duplicates_text(), None);
    }

    #[test]
    fn refuses_bombs_and_nonsense() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let refs = vec![format!("*a{}", n - 1); 9].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{refs}]\n"));
        }
        assert!(parse(bomb.as_bytes()).is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        let nested = |depth: usize| -> String {
            (0..depth)
                .map(|n| format!("{}a:\n", " ".repeat(n)))
                .collect()
        };
        assert!(parse(nested(MAX_YAML_DEPTH - 1).as_bytes()).is_ok());
        assert!(parse(nested(MAX_YAML_DEPTH + 1).as_bytes()).is_err());
        assert!(parse(b"a: b: c").unwrap_err().starts_with("yaml: line 1: "));
        assert!(parse(b"a: .inf").is_err());
        assert!(parse(b"? [a]\n: b").is_err());
        assert!(parse(b"a: 1\n---\nb: 2").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            map in prop::collection::btree_map("[ -~]{1,8}", "[ -~\n]{0,12}", 0..5),
            n in any::<i64>(),
        ) {
            let value = json!({"m": map, "n": n, "l": [n, "x", {"y": null}], "e": [{}, []]});
            let text = to_string(&value);
            prop_assert_eq!(parse(text.as_bytes()).map(|p| p.value), Ok(value), "{}", text);
        }
    }
}

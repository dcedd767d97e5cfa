//! The JSONPath that printer columns use: kubectl's, without templates.
//!
//! Fields (`.a.b`, `['a']`), indexes and slices (`[0]`, `[-1]`, `[1:3]`), unions (`[0,2]`),
//! wildcards (`.*`, `[*]`), recursion (`..a`) and filters (`[?(@.type=="Ready")]`). A path is
//! parsed once; looking up never fails, it only finds nothing.

use hanse_json::{Value, equal};

/// Most steps of one path.
const MAX_STEPS: usize = 64;

/// Most values that one step of a path may lead to: `..` after `..` would multiply them.
const MAX_FOUND: usize = 10_000;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    All,
    Recursive,
    Indexes(Vec<Index>),
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
enum Index {
    One(i64),
    Range(Option<i64>, Option<i64>),
    Name(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    compare: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`. A leading dot and
    /// surrounding braces are optional.
    ///
    /// # Errors
    /// A text for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let inner = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        let inner = inner.strip_prefix('$').unwrap_or(inner);
        let mut parser = Parser {
            text: inner,
            at: 0,
            steps: Vec::new(),
        };
        parser.path()?;
        Ok(JsonPath(parser.steps))
    }

    /// The path as plain field names, if it is nothing more.
    pub fn as_fields(&self) -> Option<Vec<&str>> {
        let name = |step: &'_ Step| match step {
            Step::Field(_) => true,
            Step::Indexes(names) => matches!(names.as_slice(), [Index::Name(_)]),
            _ => false,
        };
        self.0.iter().all(name).then(|| {
            self.0
                .iter()
                .filter_map(|step| match step {
                    Step::Field(name) => Some(name.as_str()),
                    Step::Indexes(names) => names.first().and_then(|index| match index {
                        Index::Name(name) => Some(name.as_str()),
                        _ => None,
                    }),
                    _ => None,
                })
                .collect()
        })
    }

    /// Everything that the path leads to, in document order.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| step.apply(value))
                .take(MAX_FOUND)
                .collect();
            if found.is_empty() {
                break;
            }
        }
        found
    }
}

impl Step {
    fn apply<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Step::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Step::All, Value::Object(map)) => map.values().collect(),
            (Step::All, Value::Array(items)) => items.iter().collect(),
            (Step::Recursive, value) => {
                let mut out = Vec::new();
                descend(value, &mut out);
                out
            }
            (Step::Indexes(indexes), value) => indexes
                .iter()
                .flat_map(|index| index.apply(value))
                .collect(),
            (Step::Filter(filter), Value::Array(items)) => {
                items.iter().filter(|item| filter.holds(item)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    out.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|value| descend(value, out)),
        Value::Array(items) => items.iter().for_each(|value| descend(value, out)),
        _ => {}
    }
}

impl Index {
    fn apply<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Index::Name(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Index::One(index), Value::Array(items)) => {
                let at = place(*index, items.len());
                at.and_then(|at| items.get(at)).into_iter().collect()
            }
            (Index::Range(from, to), Value::Array(items)) => {
                let clamp = |bound: i64| {
                    let length = items.len() as i64;
                    (if bound < 0 { bound + length } else { bound }).clamp(0, length) as usize
                };
                let from = from.map_or(0, clamp);
                let to = to.map_or(items.len(), clamp);
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(length as i64)?
    } else {
        index
    };
    usize::try_from(index).ok()
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let Some((comparison, right)) = &self.compare else {
            return !self.left.values(item).is_empty();
        };
        let (left, right) = (self.left.values(item), right.values(item));
        let (Some(left), Some(right)) = (left.first(), right.first()) else {
            return false;
        };
        match comparison {
            Comparison::Equal => equal(left, right),
            Comparison::NotEqual => !equal(left, right),
            _ => {
                let order = match (left, right) {
                    (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
                    (a, b) => a
                        .as_f64()
                        .zip(b.as_f64())
                        .and_then(|(a, b)| a.partial_cmp(&b)),
                };
                order.is_some_and(|order| match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    _ => order.is_ge(),
                })
            }
        }
    }
}

impl Operand {
    fn values<'v>(&'v self, item: &'v Value) -> Vec<&'v Value> {
        match self {
            Operand::Path(path) => path.find(item),
            Operand::Value(value) => vec![value],
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    steps: Vec<Step>,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, step: Step) -> Result<(), String> {
        if self.steps.len() >= MAX_STEPS {
            return Err(format!("more than {MAX_STEPS} steps in {}", self.text));
        }
        self.steps.push(step);
        Ok(())
    }

    fn path(&mut self) -> Result<(), String> {
        while !self.rest().is_empty() {
            if self.rest().starts_with("..") {
                self.at += 2;
                self.push(Step::Recursive)?;
                if !self.rest().starts_with('[') {
                    self.field()?;
                }
            } else if self.rest().starts_with('.') {
                self.at += 1;
                if !self.rest().is_empty() && !self.rest().starts_with('[') {
                    self.field()?;
                }
            } else if self.rest().starts_with('[') {
                self.bracket()?;
            } else if self.at == 0 {
                self.field()?;
            } else {
                return Err(format!("unexpected {:?} in {}", self.rest(), self.text));
            }
        }
        Ok(())
    }

    fn field(&mut self) -> Result<(), String> {
        let mut name = String::new();
        let mut chars = self.rest().char_indices();
        let mut length = self.rest().len();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' => {
                    length = i;
                    break;
                }
                c => name.push(c),
            }
        }
        self.at += length;
        match name.as_str() {
            "" => Err(format!("empty field name in {}", self.text)),
            "*" => self.push(Step::All),
            _ => self.push(Step::Field(name)),
        }
    }

    fn bracket(&mut self) -> Result<(), String> {
        let inner = self.bracketed()?;
        let step = if inner == "*" {
            Step::All
        } else if let Some(filter) = inner.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
            Step::Filter(parse_filter(filter)?)
        } else {
            let parts = split_outside_quotes(inner, ',');
            Step::Indexes(
                parts
                    .into_iter()
                    .map(parse_index)
                    .collect::<Result<_, _>>()?,
            )
        };
        self.push(step)
    }

    /// The text between the bracket at the cursor and its partner, which is passed over.
    fn bracketed(&mut self) -> Result<&'t str, String> {
        let start = self.at + 1;
        let (mut depth, mut quote) = (0usize, None);
        for (i, c) in self.rest().char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '[') => depth += 1,
                (None, ']') => {
                    depth -= 1;
                    if depth == 0 {
                        let end = self.at + i;
                        self.at = end + 1;
                        return Ok(self.text[start..end].trim());
                    }
                }
                _ => {}
            }
        }
        Err(format!("unterminated array in {}", self.text))
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c == separator => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unquote(text: &str) -> Option<String> {
    let quoted = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    let inner = quoted('\'').or_else(|| quoted('"'))?;
    Some(inner.replace("\\'", "'").replace("\\\"", "\""))
}

fn parse_index(text: &str) -> Result<Index, String> {
    let text = text.trim();
    if let Some(name) = unquote(text) {
        return Ok(Index::Name(name));
    }
    let number = |text: &str| -> Result<Option<i64>, String> {
        match text.trim() {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| format!("invalid array index {text}")),
        }
    };
    match text.split_once(':') {
        Some((from, to)) => Ok(Index::Range(number(from)?, number(to)?)),
        None => number(text)?
            .map(Index::One)
            .ok_or_else(|| "invalid array index".to_owned()),
    }
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    const COMPARISONS: [(&str, Comparison); 6] = [
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessEqual),
        (">=", Comparison::GreaterEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, _) => {
                let found = COMPARISONS
                    .iter()
                    .find(|(sign, _)| text[i..].starts_with(sign));
                if let Some((sign, comparison)) = found {
                    let left = parse_operand(&text[..i])?;
                    let right = parse_operand(&text[i + sign.len()..])?;
                    return Ok(Filter {
                        left,
                        compare: Some((*comparison, right)),
                    });
                }
            }
            _ => {}
        }
    }
    Ok(Filter {
        left: parse_operand(text)?,
        compare: None,
    })
}

fn parse_operand(text: &str) -> Result<Operand, String> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix('@') {
        return Ok(Operand::Path(JsonPath::parse(path)?));
    }
    if let Some(text) = unquote(text) {
        return Ok(Operand::Value(Value::String(text)));
    }
    let limits = hanse_json::Limits::default();
    match hanse_json::parse(text.as_bytes(), &limits) {
        Ok(parsed) => Ok(Operand::Value(parsed.value)),
        Err(_) => Err(format!("unrecognized operand {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn find(path: &str) -> Vec<Value> {
        let value = json!({
            "metadata": {"labels": {"a.b/c": "x", "region": "r"}, "name": "n"},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Live", "status": "False", "n": 2},
            ]},
            "list": [1, 2, 3],
        });
        JsonPath::parse(path)
            .unwrap()
            .find(&value)
            .into_iter()
            .cloned()
            .collect()
    }

    #[test]
    fn finds_what_columns_ask_for() {
        assert_eq!(find(".metadata.name"), [json!("n")]);
        assert_eq!(find("{.metadata.name}"), [json!("n")]);
        assert_eq!(find(".metadata.labels['region']"), [json!("r")]);
        assert_eq!(find(r".metadata.labels.a\.b/c"), [json!("x")]);
        assert_eq!(find(".metadata.labels['a.b/c']"), [json!("x")]);
        assert_eq!(
            find(".status.conditions[?(@.type==\"Ready\")].status"),
            [json!("True")]
        );
        assert_eq!(find(".status.conditions[?(@.n>1)].type"), [json!("Live")]);
        assert_eq!(
            find(".status.conditions[*].type"),
            [json!("Ready"), json!("Live")]
        );
        assert_eq!(find(".status.conditions[?(@.x)]"), Vec::<Value>::new());
        assert_eq!(find(".list[-1]"), [json!(3)]);
        assert_eq!(find(".list[0:2]"), [json!(1), json!(2)]);
        assert_eq!(find(".list[0,2]"), [json!(1), json!(3)]);
        assert_eq!(find("..n"), [json!(1), json!(2)]);
        assert!(find(".none.deeper[0]").is_empty());
        assert!(find(".list[9]").is_empty());
    }

    #[test]
    fn refuses_what_is_no_path() {
        for bad in [".a[", ".a[x]", ".a]b[0]c", ".a[?(@.x==y)]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            JsonPath::parse(".a['b'].c").unwrap().as_fields(),
            Some(vec!["a", "b", "c"])
        );
        assert_eq!(JsonPath::parse(".a[0]").unwrap().as_fields(), None);
    }
}

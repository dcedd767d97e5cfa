//! Label and field selectors: the grammar, the error texts, the matching.
//!
//! Start at [`LabelSelector::parse`] and [`FieldSelector::parse`]. The parser of label selectors
//! is upstream's grammar with its one look-ahead, because the texts of its errors tell which token
//! it stood at. Selectors are data: matching asks a closure for the values, so that whatever holds
//! an object (a tree, an index entry) can be matched. Field selectors are in a file of their own.

mod field;

use std::collections::BTreeSet;
use std::fmt;

use hanse_json::go::{json, quote};
use hanse_json::{Value, get_array, get_object, get_str};
use hanse_schema::field::{BadValue, Error as FieldError, ErrorList, Path};
use hanse_schema::names::{is_qualified_name, is_valid_label_value};

pub use field::{FieldSelector, FieldTerm};

use crate::limits::MAX_REQUIREMENTS;
use crate::status::{Result, Status};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The key is there.
    Exists,
    /// The key is not there.
    DoesNotExist,
    /// `=`
    Equals,
    /// `==`
    DoubleEquals,
    /// `!=`: other value, or no such key.
    NotEquals,
    /// One of the values.
    In,
    /// None of the values, or no such key.
    NotIn,
    /// An integer above.
    GreaterThan,
    /// An integer below.
    LessThan,
}

/// One requirement on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How to compare.
    pub operator: Operator,
    /// Sorted, each once.
    pub values: Vec<String>,
}

impl Requirement {
    /// Checks key and values.
    ///
    /// # Errors
    /// Everything that is wrong, below `path`.
    pub fn new(
        key: &str,
        operator: Operator,
        values: BTreeSet<String>,
        path: &Path,
    ) -> std::result::Result<Self, ErrorList> {
        let mut errors = ErrorList::new();
        check_key(key, &path.child("key"), &mut errors);
        let values: Vec<String> = values.into_iter().collect();
        let at = path.child("values");
        let mut refuse = |why: &str| {
            let list = Value::from(values.clone());
            errors.push(FieldError::invalid(&at, BadValue::Json(json(&list)), why));
        };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                refuse("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                refuse("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                refuse("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                refuse("for 'Gt', 'Lt' operators, exactly one value is required");
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            let ordered = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if ordered && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(&at.index(i), value.as_str(), why));
            }
        }
        for (i, value) in values.iter().enumerate() {
            let messages = is_valid_label_value(value);
            if !messages.is_empty() {
                let at = at.index(i).key(key);
                errors.push(FieldError::invalid(
                    &at,
                    value.as_str(),
                    messages.join("; "),
                ));
            }
        }
        errors.into_result()?;
        Ok(Requirement {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let has = |value: &str| self.values.iter().any(|v| v == value);
        let order = |value: &str| -> Option<std::cmp::Ordering> {
            let ours = self.values.first()?.parse::<i64>().ok()?;
            Some(value.parse::<i64>().ok()?.cmp(&ours))
        };
        match (self.operator, value) {
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::NotIn | Operator::NotEquals, value) => value.is_none_or(|v| !has(v)),
            (_, None) => false,
            (Operator::In | Operator::Equals | Operator::DoubleEquals, Some(v)) => has(v),
            (Operator::GreaterThan, Some(v)) => order(v).is_some_and(|o| o.is_gt()),
            (Operator::LessThan, Some(v)) => order(v).is_some_and(|o| o.is_lt()),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

fn check_key(key: &str, path: &Path, errors: &mut ErrorList) {
    let messages = is_qualified_name(key);
    if !messages.is_empty() {
        errors.push(FieldError::invalid(path, key, messages.join("; ")));
    }
}

fn render(errors: &ErrorList) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// A conjunction of requirements on labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        LabelSelector::default()
    }

    /// Matches no object.
    pub fn nothing() -> Self {
        LabelSelector {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Reads the text form, such as `app=web,tier in (a,b),!old`.
    ///
    /// # Errors
    /// 400 with the parser's text.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_at(text, &Path::nil()).map_err(Status::bad_request)
    }

    /// Like [`LabelSelector::parse`] for a selector that stands in a field.
    ///
    /// # Errors
    /// The parser's text.
    pub fn parse_at(text: &str, path: &Path) -> std::result::Result<Self, String> {
        let mut requirements = Parser::new(text, path).parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector {
            requirements,
            nothing: false,
        })
    }

    /// Reads a `metav1.LabelSelector` object. An absent one selects nothing, an empty one
    /// everything; a field that documents it otherwise has to say so to its caller.
    ///
    /// # Errors
    /// A text for a malformed key, value or operator.
    pub fn from_json(selector: Option<&Value>) -> std::result::Result<Self, String> {
        let Some(selector) = selector.filter(|selector| !selector.is_null()) else {
            return Ok(LabelSelector::nothing());
        };
        let nil = Path::nil();
        let mut requirements = Vec::new();
        let mut push = |key: &str, operator: Operator, values: BTreeSet<String>| {
            let requirement = Requirement::new(key, operator, values, &nil);
            requirements.push(requirement.map_err(|errors| render(&errors))?);
            Ok::<(), String>(())
        };
        for (key, value) in get_object(selector, &["matchLabels"]).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            push(key, Operator::Equals, BTreeSet::from([value]))?;
        }
        for expression in get_array(selector, &["matchExpressions"]) {
            let operator = match get_str(expression, &["operator"]).unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let other = quote(other);
                    return Err(format!("{other} is not a valid label selector operator"));
                }
            };
            let values = get_array(expression, &["values"])
                .iter()
                .filter_map(Value::as_str);
            let key = get_str(expression, &["key"]).unwrap_or_default();
            push(key, operator, values.map(str::to_owned).collect())?;
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector {
            requirements,
            nothing: false,
        })
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The requirements, by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels match; `get` looks a label up.
    pub fn matches<'l>(&self, get: impl Fn(&str) -> Option<&'l str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }

    /// Whether the labels of a tree's metadata match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(|key| get_str(object, &["metadata", "labels", key]))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    Identifier,
    Comma,
    Not,
    Open,
    Close,
    In,
    NotIn,
    Compare(Operator),
}

fn token_of(text: &[u8]) -> Option<Token> {
    Some(match text {
        b")" => Token::Close,
        b"," => Token::Comma,
        b"!" => Token::Not,
        b"==" => Token::Compare(Operator::DoubleEquals),
        b"=" => Token::Compare(Operator::Equals),
        b">" => Token::Compare(Operator::GreaterThan),
        b"in" => Token::In,
        b"<" => Token::Compare(Operator::LessThan),
        b"!=" => Token::Compare(Operator::NotEquals),
        b"notin" => Token::NotIn,
        b"(" => Token::Open,
        _ => return None,
    })
}

const SPECIAL: &[u8] = b"=!(),><";

fn lex(text: &str) -> Vec<(Token, String)> {
    let bytes = text.as_bytes();
    let special = |at: usize| bytes.get(at).is_some_and(|c| SPECIAL.contains(c));
    let space = |at: usize| bytes.get(at).is_some_and(|c| b" \t\r\n".contains(c));
    let slice = |from: usize, to: usize| String::from_utf8_lossy(&bytes[from..to]).into_owned();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if space(at) {
            at += 1;
        } else if special(at) {
            // The longest operator that the run of special characters begins with.
            let longest = (1..=2)
                .rev()
                .find(|n| (at..at + n).all(special) && token_of(&bytes[at..at + n]).is_some());
            let length = longest.unwrap_or(1);
            let token = token_of(&bytes[at..at + length]).unwrap_or(Token::Error);
            tokens.push((token, slice(at, at + length)));
            at += length;
        } else {
            let start = at;
            while at < bytes.len() && !special(at) && !space(at) {
                at += 1;
            }
            let token = token_of(&bytes[start..at]).unwrap_or(Token::Identifier);
            tokens.push((token, slice(start, at)));
        }
    }
    tokens.push((Token::End, String::new()));
    tokens
}

struct Parser<'p> {
    tokens: Vec<(Token, String)>,
    at: usize,
    path: &'p Path,
}

type Parse<T> = std::result::Result<T, String>;

impl<'p> Parser<'p> {
    fn new(text: &str, path: &'p Path) -> Self {
        Parser {
            tokens: lex(text),
            at: 0,
            path,
        }
    }

    /// The next token. Where a value may stand, `in` and `notin` are ordinary words.
    fn look(&self, values: bool) -> (Token, &str) {
        let last = self.tokens.len() - 1;
        let (token, text) = &self.tokens[self.at.min(last)];
        match token {
            Token::In | Token::NotIn if values => (Token::Identifier, text),
            _ => (*token, text),
        }
    }

    fn take(&mut self, values: bool) -> (Token, String) {
        let (token, text) = self.look(values);
        let taken = (token, text.to_owned());
        self.at += 1;
        taken
    }

    fn parse(mut self) -> Parse<Vec<Requirement>> {
        let mut requirements = Vec::new();
        loop {
            let (token, text) = self.look(true);
            match token {
                Token::Identifier | Token::Not => {
                    if requirements.len() >= MAX_REQUIREMENTS {
                        return Err(format!("more than {MAX_REQUIREMENTS} requirements"));
                    }
                    let requirement = self.requirement();
                    let wrap = |err| format!("unable to parse requirement: {err}");
                    requirements.push(requirement.map_err(wrap)?);
                    let (token, text) = self.take(true);
                    match token {
                        Token::End => return Ok(requirements),
                        Token::Comma => {
                            let (token, text) = self.look(true);
                            if !matches!(token, Token::Identifier | Token::Not) {
                                let why = "expected: identifier after ','";
                                return Err(format!("found '{text}', {why}"));
                            }
                        }
                        _ => {
                            let why = "expected: ',' or 'end of string'";
                            return Err(format!("found '{text}', {why}"));
                        }
                    }
                }
                Token::End => return Ok(requirements),
                _ => {
                    let why = "expected: !, identifier, or 'end of string'";
                    return Err(format!("found '{text}', {why}"));
                }
            }
        }
    }

    fn requirement(&mut self) -> Parse<Requirement> {
        let (mut token, mut key) = self.take(true);
        let mut operator = None;
        if token == Token::Not {
            operator = Some(Operator::DoesNotExist);
            (token, key) = self.take(true);
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let mut errors = ErrorList::new();
        check_key(&key, self.path, &mut errors);
        if !errors.is_empty() {
            return Err(render(&errors));
        }
        if operator.is_none() && matches!(self.look(true).0, Token::End | Token::Comma) {
            operator = Some(Operator::Exists);
        }
        let (operator, values) = match operator {
            Some(operator) => (operator, BTreeSet::new()),
            None => {
                let operator = self.operator()?;
                let values = match operator {
                    Operator::In | Operator::NotIn => self.values()?,
                    _ => self.exact_value()?,
                };
                (operator, values)
            }
        };
        Requirement::new(&key, operator, values, self.path).map_err(|errors| render(&errors))
    }

    fn operator(&mut self) -> Parse<Operator> {
        match self.take(false) {
            (Token::In, _) => Ok(Operator::In),
            (Token::NotIn, _) => Ok(Operator::NotIn),
            (Token::Compare(operator), _) => Ok(operator),
            (_, text) => Err(format!(
                "found '{text}', expected: in, notin, =, ==, !=, gt, lt"
            )),
        }
    }

    fn exact_value(&mut self) -> Parse<BTreeSet<String>> {
        if matches!(self.look(true).0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.take(true) {
            (Token::Identifier, text) => Ok(BTreeSet::from([text])),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Parse<BTreeSet<String>> {
        let (token, text) = self.take(true);
        if token != Token::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        let (token, text) = self.look(true);
        match token {
            Token::Identifier | Token::Comma => {
                let first = text.to_owned();
                let values = self.identifiers()?;
                match self.take(true).0 {
                    Token::Close => Ok(values),
                    _ => Err(format!("found '{first}', expected: ')'")),
                }
            }
            Token::Close => {
                self.take(true);
                Ok(BTreeSet::from([String::new()]))
            }
            _ => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Parse<BTreeSet<String>> {
        let mut values = BTreeSet::new();
        loop {
            match self.take(true) {
                (Token::Identifier, text) => {
                    values.insert(text);
                    match self.look(true) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, text) => {
                            return Err(format!("found '{text}', expected: ',' or ')'"));
                        }
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.look(true).0 {
                        Token::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, text) => {
                    return Err(format!("found '{text}', expected: ',', or identifier"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let find = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        LabelSelector::parse(selector).unwrap().matches(find)
    }

    #[test]
    fn matches_as_the_grammar_says() {
        let labels = [("app", "web"), ("n", "5"), ("empty", "")];
        for yes in [
            "",
            " \t",
            "app",
            "!x",
            "app=web",
            "app == web",
            "app!=db",
            "x!=y",
            "app in (db, web)",
            "app notin (db)",
            "x notin (a)",
            "n>4,n<6",
            "empty=",
            "empty in (a,,b)",
            "empty in ()",
            "app,!x , n in (5)",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in [
            "x",
            "!app",
            "app=db",
            "x=y",
            "app in (db)",
            "app notin (web)",
            "n>5",
            "app>1",
        ] {
            assert!(!matches(no, &labels), "{no}");
        }
        assert!(matches("in=a,notin", &[("in", "a"), ("notin", "")]));
    }

    #[test]
    fn fails_in_upstreams_words() {
        let message = |text: &str| LabelSelector::parse(text).unwrap_err().message;
        for (text, expected) in [
            (
                "a===b",
                "unable to parse requirement: found '=', expected: identifier",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            (
                "=a",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a in b",
                "unable to parse requirement: found 'b' expected: '('",
            ),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' \
                 operators, the value must be an integer",
            ),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
        assert!(message("a/b/c=d").starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key must"
        ));
        assert!(message("a=-").starts_with(
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be"
        ));
    }

    #[test]
    fn reads_selector_objects() {
        let selector = json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [{"key": "b", "operator": "In", "values": ["y", "x"]}],
        });
        let parsed = LabelSelector::from_json(Some(&selector)).unwrap();
        assert_eq!(parsed.to_string(), "a=1,b in (x,y)");
        assert!(
            LabelSelector::from_json(Some(&json!({})))
                .unwrap()
                .is_everything()
        );
        assert!(!LabelSelector::from_json(None).unwrap().matches(|_| None));
        let bad = json!({"matchExpressions": [{"key": "b", "operator": "Like"}]});
        assert_eq!(
            LabelSelector::from_json(Some(&bad)).unwrap_err(),
            "\"Like\" is not a valid label selector operator"
        );
    }
}

//! Whether a value is as its schema says, in Kubernetes' words.
//!
//! Start at [`validate`]. The walk follows kube-openapi's validator step by step: per node the
//! type, the junctors, then what the type allows, each step counting what matched, because the
//! counts decide whose errors a failed `anyOf` shows. The invariant: messages, paths and values
//! are Kubernetes'; the order is that of the walk with properties sorted by name. Paths are
//! rendered only for errors. Rules in CEL are deliberately elsewhere.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::field::{self, BadValue, Error, ErrorList, ErrorType, Path};
use crate::limits::{ERRORS_MAX, WHOLE_ERRORS_MAX};
use crate::lists;
use crate::node::{Additional, Checks, Junctors, Node, Type};
use crate::ratchet;
use hanse_json::go;

/// How a schema is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For objects: unsupported formats are ignored, int-or-string is a type.
    Object,
    /// For defaults at CRD write: the schema as written.
    AsWritten,
}

/// Validates `value`; with `old`, errors of what did not change are left out.
///
/// `base` is the path of the value in the object, [`Path::nil`] for the whole object.
pub fn validate(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    base: &Path,
    mode: Mode,
) -> ErrorList {
    let walk = Walk {
        base,
        mode,
        ratcheting: old.is_some(),
    };
    let outcome = walk.ratcheted(node, value, old, &At::Root);
    outcome
        .errors
        .into_iter()
        .map(|found| found.error)
        .collect()
}

/// Where the walk is: a list through the stack, rendered when an error needs it.
enum At<'a> {
    Root,
    /// A property; at the root without leading dot.
    Property(&'a At<'a>, &'a str),
    /// An additional property; always with a dot, as in the original.
    Additional(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    fn render(&self) -> String {
        let mut out = String::new();
        self.push(&mut out);
        out
    }

    fn push(&self, out: &mut String) {
        match self {
            At::Root => {}
            At::Property(parent, name) => {
                parent.push(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            At::Additional(parent, name) => {
                parent.push(out);
                out.push('.');
                out.push_str(name);
            }
            At::Index(parent, index) => {
                parent.push(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }

    fn is_root(&self) -> bool {
        matches!(self, At::Root)
    }
}

/// An error with the text by which duplicates are known.
struct Found {
    error: Error,
    message: String,
}

/// What one step found, and how much of it matched.
#[derive(Default)]
struct Outcome {
    errors: Vec<Found>,
    /// Texts of `errors`, kept once there are many. Most outcomes have no error at all.
    seen: Option<HashSet<String>>,
    matches: u32,
}

/// From this many errors on duplicates are looked up by hash.
const MANY: usize = 16;

impl Outcome {
    fn matched() -> Self {
        Outcome {
            matches: 1,
            ..Outcome::default()
        }
    }

    fn failed(found: Found) -> Self {
        Outcome {
            errors: vec![found],
            ..Outcome::default()
        }
    }

    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    fn merge(&mut self, other: Outcome) {
        self.matches += other.matches;
        if self.errors.is_empty() {
            self.errors = other.errors;
            self.seen = other.seen;
        } else {
            other.errors.into_iter().for_each(|found| self.add(found));
        }
    }

    fn add(&mut self, mut found: Found) {
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        if self.errors.len() >= WHOLE_ERRORS_MAX {
            found.error.cut();
            field::cut(&mut found.message);
        }
        if self.errors.len() < MANY {
            if self.errors.iter().all(|e| e.message != found.message) {
                self.errors.push(found);
            }
            return;
        }
        let errors = &mut self.errors;
        let seen = self.seen.get_or_insert_default();
        if seen.len() < errors.len() {
            *seen = errors.iter().map(|e| e.message.clone()).collect();
        }
        if seen.insert(found.message.clone()) {
            errors.push(found);
        }
    }
}

/// The JSON type of a value and the format that Go infers for it.
fn kind_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Number(n) if n.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

struct Walk<'a> {
    base: &'a Path,
    mode: Mode,
    ratcheting: bool,
}

impl Walk<'_> {
    fn error_path(&self, name: &str) -> Path {
        let name_below = name.strip_prefix('.').unwrap_or(name);
        if name.is_empty() || name == "." {
            self.base.clone()
        } else {
            self.base.child(name_below)
        }
    }

    fn found(&self, ty: ErrorType, name: &str, value: BadValue, message: String) -> Found {
        let field = self.error_path(name).to_string();
        let error = Error {
            ty,
            field,
            value: Some(value),
            detail: message.clone(),
        };
        Found { error, message }
    }

    fn invalid(&self, at: &At<'_>, value: impl Into<BadValue>, why: &str) -> Found {
        let name = at.render();
        let message = format!("{name} in body {why}");
        self.found(ErrorType::Invalid, &name, value.into(), message)
    }

    fn wrong_type(&self, at: &At<'_>, wanted: &str, got: &str) -> Found {
        let name = at.render();
        let message = format!(
            "{name} in body must be of type {wanted}: {}",
            go::quote(got)
        );
        self.found(ErrorType::TypeInvalid, &name, got.into(), message)
    }

    /// Errors of junctors have no path of their own.
    fn junctor(&self, at: &At<'_>, why: &str) -> Found {
        let message = format!("{} {why}", go::quote(&at.render()));
        self.found(ErrorType::Invalid, "", "".into(), message)
    }

    /// A node whose errors vanish when its value did not change.
    fn ratcheted(&self, node: &Node, value: &Value, old: Option<&Value>, at: &At<'_>) -> Outcome {
        let mut outcome = self.node(node, value, old, at);
        if !outcome.is_valid()
            && let Some(old) = old
            && ratchet::unchanged(node, value, old)
        {
            outcome.errors.clear();
            outcome.seen = None;
        }
        outcome
    }

    fn node(&self, node: &Node, value: &Value, old: Option<&Value>, at: &At<'_>) -> Outcome {
        let checks = node.checks.as_deref();
        let mut outcome = Outcome::default();
        if value.is_null() {
            outcome.merge(self.types(node, value, at));
            outcome.merge(self.enumeration(checks, value, at));
            return outcome;
        }
        if self.has_type(node) {
            outcome.merge(self.types(node, value, at));
            outcome.matches += 1;
        }
        outcome.merge(self.junctors(node.junctors.as_deref(), value, at));
        outcome.matches += 1;
        match value {
            Value::String(text) => {
                outcome.merge(self.text(checks, text, at));
                outcome.matches += 1;
                if let Some(format) = checks.and_then(|c| c.format.as_ref())
                    && format.is_supported()
                {
                    if !format.accepts(text) {
                        outcome.merge(Outcome::failed(self.wrong_type(at, &format.name, text)));
                    }
                    outcome.matches += 1;
                }
            }
            Value::Number(_) => {
                outcome.merge(self.number(checks, value, at));
                outcome.matches += 2;
            }
            Value::Array(items) => {
                outcome.merge(self.list(node, items, old, at));
                outcome.matches += 2;
            }
            _ => {}
        }
        outcome.merge(self.enumeration(checks, value, at));
        outcome.matches += 1;
        if let Value::Object(map) = value {
            outcome.merge(self.object(node, map, old, at));
            outcome.matches += 1;
        }
        outcome.matches += 1;
        outcome
    }

    /// The format as far as it takes part in the check of the type.
    fn type_format<'n>(&self, node: &'n Node) -> Option<&'n str> {
        let format = node.checks.as_deref()?.format.as_ref()?;
        (format.is_supported() || self.mode == Mode::AsWritten).then_some(format.name.as_ref())
    }

    fn is_int_or_string(&self, node: &Node) -> bool {
        node.int_or_string && self.mode == Mode::Object
    }

    fn has_type(&self, node: &Node) -> bool {
        node.ty != Type::Any || self.is_int_or_string(node) || self.type_format(node).is_some()
    }

    fn types(&self, node: &Node, value: &Value, at: &At<'_>) -> Outcome {
        let name = match (node.ty, node.checks.as_deref()) {
            _ if self.is_int_or_string(node) => "integer,string",
            (Type::Unknown, Some(checks)) => &checks.unknown_type,
            (ty, _) => ty.name(),
        };
        if value.is_null() {
            if !name.is_empty() && !node.nullable {
                return Outcome::failed(self.wrong_type(at, name, "null"));
            }
            return Outcome::matched();
        }
        let wants = |ty: &str| !name.is_empty() && name.split(',').any(|n| n == ty);
        let (got, got_format) = kind_of(value);
        let whole = value.as_f64().is_some_and(is_json_integer);
        let fits = wants(got)
            || got == "number" && whole && wants("integer")
            || got == "integer" && wants("number");
        let texty = matches!(value, Value::String(_) | Value::Array(_));
        if let Some(format) = self.type_format(node) {
            if !texty && !fits && got_format != format {
                return Outcome::failed(self.wrong_type(at, format, got_format));
            }
            if texty && !wants("number") && !wants("integer") {
                // A string (or, by a slip of the original, a list) is left to the format.
                return Outcome::matched();
            }
        }
        if fits {
            Outcome::matched()
        } else {
            Outcome::failed(self.wrong_type(at, name, got))
        }
    }

    fn text(&self, checks: Option<&Checks>, text: &str, at: &At<'_>) -> Outcome {
        let Some(checks) = checks else {
            return Outcome::default();
        };
        if checks.max_length.is_some() || checks.min_length.is_some() {
            // Counted in characters, whatever the message says.
            let length = text.chars().count() as i64;
            if let Some(max) = checks.max_length.filter(|max| length > *max) {
                let name = at.render();
                let message = format!("{name} in body should be at most {max} chars long");
                let path = self.error_path(&name);
                let error = if max >= 0 {
                    Error::too_long(&path, max as usize)
                } else {
                    let detail = "value is too long".to_owned();
                    let field = path.to_string();
                    Error {
                        ty: ErrorType::TooLong,
                        field,
                        value: None,
                        detail,
                    }
                };
                return Outcome::failed(Found { error, message });
            }
            if let Some(min) = checks.min_length.filter(|min| length < *min) {
                let why = format!("should be at least {min} chars long");
                return Outcome::failed(self.invalid(at, text, &why));
            }
        }
        match &checks.pattern {
            Some(pattern) if !checks.pattern_text.is_empty() && !pattern.is_match(text) => {
                let why = format!("should match '{}'", checks.pattern_text);
                Outcome::failed(self.invalid(at, text, &why))
            }
            _ => Outcome::default(),
        }
    }

    fn number(&self, checks: Option<&Checks>, value: &Value, at: &At<'_>) -> Outcome {
        let mut outcome = Outcome::matched();
        let Some(checks) = checks else { return outcome };
        let number = Number::of(value);
        if let Some(why) = checks
            .multiple_of
            .and_then(|factor| not_multiple(number, factor))
        {
            let found = match why {
                NotMultiple::Value(shown) => {
                    self.invalid(at, value, &format!("should be a multiple of {shown}"))
                }
                NotMultiple::Factor(factor) => {
                    let name = at.render();
                    let message =
                        format!("factor MultipleOf declared for {name} must be positive: {factor}");
                    self.found(ErrorType::Invalid, &name, factor, message)
                }
            };
            outcome.add(found);
        }
        if let Some(limit) = checks.minimum {
            let exclusive = checks.exclusive_minimum;
            if let Some(shown) = number.outside(limit, exclusive, |n, l| n < l, |n, l| n < l) {
                let word = if exclusive {
                    "greater than"
                } else {
                    "greater than or equal to"
                };
                outcome.add(self.invalid(at, value, &format!("should be {word} {shown}")));
            }
        }
        if let Some(limit) = checks.maximum {
            let exclusive = checks.exclusive_maximum;
            if let Some(shown) = number.outside(limit, exclusive, |n, l| n > l, |n, l| n > l) {
                let word = if exclusive {
                    "less than"
                } else {
                    "less than or equal to"
                };
                outcome.add(self.invalid(at, value, &format!("should be {word} {shown}")));
            }
        }
        outcome
    }

    fn enumeration(&self, checks: Option<&Checks>, value: &Value, at: &At<'_>) -> Outcome {
        let Some(checks) = checks.filter(|c| !c.enumeration.is_empty()) else {
            return Outcome::default();
        };
        if checks
            .enumeration
            .iter()
            .any(|member| member.is_enum_member(value))
        {
            return Outcome::default();
        }
        let members = checks
            .enumeration
            .iter()
            .map(|member| match member.to_value() {
                Value::String(text) => text,
                other => go::json(&other),
            });
        let members: Vec<String> = members.collect();
        let name = at.render();
        let message = format!("{name} in body should be one of [{}]", members.join(" "));
        let error = Error::not_supported(&self.error_path(&name), value, &members);
        Outcome::failed(Found { error, message })
    }

    fn list(&self, node: &Node, items: &[Value], old: Option<&Value>, at: &At<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(schema) = node.items.as_deref() {
            for (i, item) in items.iter().enumerate() {
                let here = At::Index(at, i);
                let before = if self.ratcheting {
                    ratchet::old_item(node, old, item)
                } else {
                    None
                };
                outcome.merge(self.ratcheted(schema, item, before, &here));
            }
        }
        if let Some(checks) = node.checks.as_deref() {
            let size = items.len() as i64;
            if let Some(min) = checks.min_items.filter(|min| size < *min) {
                outcome.add(self.invalid(at, size, &format!("should have at least {min} items")));
            }
            if let Some(max) = checks.max_items.filter(|max| size > *max) {
                outcome.add(self.too_many(at, size, max, "items"));
            }
            if checks.unique_items && !lists::repeated(items.iter()).is_empty() {
                outcome.add(self.invalid(at, "", "shouldn't contain duplicates"));
            }
        }
        outcome.matches += 1;
        outcome
    }

    fn too_many(&self, at: &At<'_>, size: i64, max: i64, of: &str) -> Found {
        let name = at.render();
        let message = format!("{name} in body should have at most {max} {of}");
        let mut error = Error::too_many(&self.error_path(&name), size, max);
        if max < 0 {
            error.detail = "has too many items".to_owned();
        }
        Found { error, message }
    }

    fn object(
        &self,
        node: &Node,
        map: &Map<String, Value>,
        old: Option<&Value>,
        at: &At<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(checks) = node.checks.as_deref() {
            let size = map.len() as i64;
            if let Some(min) = checks.min_properties.filter(|min| size < *min) {
                let why = format!("should have at least {min} properties");
                outcome.add(self.invalid(at, size, &why));
            }
            if let Some(max) = checks.max_properties.filter(|max| size > *max) {
                outcome.add(self.too_many(at, size, max, "properties"));
            }
        }
        self.additional(node, map, old, at, &mut outcome);
        for (name, schema) in &node.properties {
            let Some(value) = map.get(name.as_ref()) else {
                continue;
            };
            let here = At::Property(at, name);
            let before = self.old_field(node, map, old, name, at);
            outcome.merge(self.ratcheted(schema, value, before, &here));
        }
        for name in &node.required {
            if !map.contains_key(name.as_ref()) {
                let path = At::Additional(at, name).render();
                let message = format!("{path} in body is required");
                let error = Error::required(&self.error_path(&path), "");
                outcome.add(Found { error, message });
            }
        }
        outcome
    }

    fn additional(
        &self,
        node: &Node,
        map: &Map<String, Value>,
        old: Option<&Value>,
        at: &At<'_>,
        outcome: &mut Outcome,
    ) {
        let extra = |key: &str| node.property(key).is_none();
        match &node.additional {
            Additional::Unspecified | Additional::Allowed(true) => {}
            Additional::Allowed(false) => {
                for key in map.keys().filter(|key| extra(key)) {
                    let name = at.render();
                    let message = format!("{name}.{key} in body is a forbidden property");
                    let value = BadValue::from(key.as_str());
                    outcome.add(self.found(ErrorType::Invalid, &name, value, message));
                }
            }
            Additional::Schema(schema) => {
                for (key, value) in map.iter().filter(|(key, _)| extra(key)) {
                    let here = At::Additional(at, key);
                    let before = self.old_field(node, map, old, key, at);
                    outcome.merge(self.ratcheted(schema, value, before, &here));
                }
            }
        }
    }

    fn old_field<'o>(
        &self,
        node: &Node,
        map: &Map<String, Value>,
        old: Option<&'o Value>,
        key: &str,
        at: &At<'_>,
    ) -> Option<&'o Value> {
        // Old and new are compared in one version, so apiVersion and kind say nothing.
        if !self.ratcheting || at.is_root() && matches!(key, "kind" | "apiVersion") {
            return None;
        }
        ratchet::old_field(node, map, old, key)
    }

    fn junctors(&self, junctors: Option<&Junctors>, value: &Value, at: &At<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(junctors) = junctors {
            // Below a junctor nothing correlates.
            let walk = Walk {
                base: self.base,
                mode: self.mode,
                ratcheting: false,
            };
            walk.any_of(&junctors.any_of, value, at, &mut outcome);
            walk.one_of(&junctors.one_of, value, at, &mut outcome);
            walk.all_of(&junctors.all_of, value, at, &mut outcome);
            if let Some(not) = &junctors.not
                && walk.node(not, value, None, at).is_valid()
            {
                outcome.add(walk.junctor(at, "must not validate the schema (not)"));
            }
        }
        outcome.matches += 1;
        outcome
    }

    fn any_of(&self, nodes: &[Node], value: &Value, at: &At<'_>, outcome: &mut Outcome) {
        let mut best: Option<Outcome> = None;
        for node in nodes {
            let tried = self.node(node, value, None, at);
            if tried.is_valid() {
                return outcome.merge(tried);
            }
            if best.as_ref().is_none_or(|b| tried.matches > b.matches) {
                best = Some(tried);
            }
        }
        if let Some(best) = best {
            outcome.add(self.junctor(at, "must validate at least one schema (anyOf)"));
            outcome.merge(best);
        }
    }

    fn one_of(&self, nodes: &[Node], value: &Value, at: &At<'_>, outcome: &mut Outcome) {
        if nodes.is_empty() {
            return;
        }
        let mut best: Option<Outcome> = None;
        let mut first: Option<Outcome> = None;
        let mut valid = 0;
        for node in nodes {
            let tried = self.node(node, value, None, at);
            if tried.is_valid() {
                valid += 1;
                best = None;
                first.get_or_insert(tried);
            } else if valid == 0 && best.as_ref().is_none_or(|b| tried.matches > b.matches) {
                best = Some(tried);
            }
        }
        if valid == 1 {
            return outcome.merge(first.unwrap_or_default());
        }
        let why = if valid == 0 {
            "Found none valid".to_owned()
        } else {
            format!("Found {valid} valid alternatives")
        };
        let text = format!("must validate one and only one schema (oneOf). {why}");
        outcome.add(self.junctor(at, &text));
        if let Some(best) = best {
            outcome.merge(best);
        }
    }

    fn all_of(&self, nodes: &[Node], value: &Value, at: &At<'_>, outcome: &mut Outcome) {
        let mut valid = 0;
        for node in nodes {
            let tried = self.node(node, value, None, at);
            valid += usize::from(tried.is_valid());
            outcome.merge(tried);
        }
        if valid != nodes.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            let text = format!("must validate all the schemas (allOf){none}");
            outcome.add(self.junctor(at, &text));
        }
    }
}

/// A JSON number as Go holds it.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Number {
        match value.as_i64() {
            Some(n) => Number::Int(n),
            None => Number::Float(value.as_f64().unwrap_or_default()),
        }
    }

    /// The limit as the message shows it, when the number is beyond it. Integers are compared with
    /// the limit cut to an integer, as in the original.
    fn outside(
        self,
        limit: f64,
        exclusive: bool,
        beyond_int: fn(i64, i64) -> bool,
        beyond_float: fn(f64, f64) -> bool,
    ) -> Option<String> {
        match self {
            Number::Int(n) => {
                let limit = limit as i64;
                (beyond_int(n, limit) || exclusive && n == limit).then(|| limit.to_string())
            }
            Number::Float(n) => {
                (beyond_float(n, limit) || exclusive && n == limit).then(|| go::float_v(limit))
            }
        }
    }
}

enum NotMultiple {
    /// The value is no multiple of the factor shown.
    Value(String),
    /// The factor itself is not positive.
    Factor(BadValue),
}

fn not_multiple(number: Number, factor: f64) -> Option<NotMultiple> {
    match number {
        Number::Int(n) => {
            let factor = factor as i64;
            if factor <= 0 {
                return Some(NotMultiple::Factor(factor.into()));
            }
            (n % factor != 0).then(|| NotMultiple::Value(factor.to_string()))
        }
        Number::Float(n) => {
            if factor <= 0.0 {
                return Some(NotMultiple::Factor(factor.into()));
            }
            let quotient = if factor < 1.0 {
                1.0 / factor * n
            } else {
                n / factor
            };
            (!is_json_integer(quotient)).then(|| NotMultiple::Value(go::float_v(factor)))
        }
    }
}

/// Whether a float is an integer within 2^53, give or take a rounding error.
fn is_json_integer(f: f64) -> bool {
    const MAX: f64 = 9_007_199_254_740_991.0;
    if !f.is_finite() || f.abs() > MAX {
        return false;
    }
    let whole = f.trunc();
    if f == whole {
        return true;
    }
    // Go casts a negative number to an unsigned one here, which gives 0 or something huge.
    f > 0.0 && whole != 0.0 && (f - whole).abs() / (f.abs() + whole.abs()) < 1e-9
}

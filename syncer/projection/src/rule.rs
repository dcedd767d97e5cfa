//! A ProjectionRule made ready for use: paths read, expressions compiled.
//!
//! Start at [`Rule::compile`]; then [`Rule::down`], [`Rule::up`], [`Rule::health`] and
//! [`Rule::names`]. Invariant: a rule with a mistake does nothing by halves: whoever uses it looks
//! at [`Rule::errors`] first, and every failure names the field, the expression and its input.

use hanse_apis::sites::{ProjectionRuleSpec, Related, Transform};
use serde_json::Value;

use crate::aggregate::Health;
use crate::expr::{Expression, Fuel, cut};
use crate::kinds::How;
use crate::limits::{INPUT_BYTES_MAX, NAMES_MAX};
use crate::steps::{Edit, Steps};

const DOWN: &[&str] = &["object", "self", "site"];
const UP: &[&str] = &["object", "self", "status"];
const HEALTH: &[&str] = &["object", "status"];
const COMBINE: &[&str] = &["object", "sites"];
const NAMES: &[&str] = &["object"];

/// A rule that can be used.
#[derive(Debug, Default)]
pub struct Rule {
    /// What the rule says.
    pub spec: ProjectionRuleSpec,
    /// Where it stands: its workspace and its name.
    pub place: (String, String),
    /// What is wrong with it.
    pub errors: Vec<String>,
    down: Vec<Change>,
    up: Vec<Change>,
    owned: Vec<Steps>,
    combine: Vec<Combined>,
    health: Option<Expression>,
    related: Vec<Option<Expression>>,
}

/// One transform.
#[derive(Debug)]
struct Change {
    label: String,
    path: Steps,
    value: Option<Expression>,
    when: Option<Expression>,
}

/// How a rule combines one member of the status.
#[derive(Debug)]
pub struct Combined {
    /// The member.
    pub path: Steps,
    /// How, when a word says it.
    pub how: Option<How>,
    expression: Option<Expression>,
}

/// Collects what is wrong with a rule.
#[derive(Default)]
struct Compiler {
    errors: Vec<String>,
}

impl Compiler {
    fn expression(
        &mut self,
        at: &str,
        text: &str,
        names: &'static [&'static str],
    ) -> Option<Expression> {
        if text.is_empty() {
            return None;
        }
        let made = Expression::compile(text, names);
        self.kept(at, made)
    }

    fn path(&mut self, at: &str, text: &str) -> Option<Steps> {
        self.kept(at, Steps::parse(text))
    }

    fn kept<T>(&mut self, at: &str, made: Result<T, String>) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(error) => {
                self.errors.push(format!("spec.{at}: {error}"));
                None
            }
        }
    }

    fn changes(
        &mut self,
        field: &str,
        all: &[Transform],
        names: &'static [&'static str],
    ) -> Vec<Change> {
        let mut out = Vec::new();
        for (i, transform) in all.iter().enumerate() {
            let at = |part: &str| format!("{field}[{i}]{part}");
            let path = self.path(&at(".path"), &transform.path);
            let value = self.expression(&at(".expression"), &transform.expression, names);
            let when = self.expression(&at(".when"), &transform.when, names);
            let Some(path) = path else {
                continue;
            };
            if transform.remove != transform.expression.is_empty() {
                let why = "exactly one of expression and remove is needed";
                self.errors.push(format!("spec.{}: {why}", at("")));
            }
            if (field == "up") != (path.root() == "status") {
                let why = match field {
                    "up" => "what comes up is the status: its path begins with status",
                    _ => "the status never travels down",
                };
                self.errors.push(format!("spec.{}: {why}", at(".path")));
            }
            out.push(Change {
                label: format!("{} {}", at(""), transform.path),
                path,
                value,
                when,
            });
        }
        out
    }
}

impl Rule {
    /// Makes a rule ready.
    #[must_use]
    pub fn compile(spec: ProjectionRuleSpec, place: (String, String)) -> Self {
        let mut c = Compiler::default();
        let down = c.changes("down", &spec.down, DOWN);
        let up = c.changes("up", &spec.up, UP);
        let owned = spec.site_owned.iter().enumerate();
        let owned = owned.filter_map(|(i, p)| c.path(&format!("siteOwned[{i}]"), p));
        let owned: Vec<Steps> = owned.collect();
        let mut combine = Vec::new();
        for (i, one) in spec.combine.iter().enumerate() {
            let at = format!("combine[{i}]");
            let how = How::named(&one.how);
            let expression = c.expression(&format!("{at}.expression"), &one.expression, COMBINE);
            if how.is_some() != one.expression.is_empty() {
                let why = "an expression is needed exactly where how is Expression";
                c.errors.push(format!("spec.{at}: {why}"));
            }
            if let Some(path) = c.path(&format!("{at}.path"), &one.path) {
                combine.push(Combined {
                    path,
                    how,
                    expression,
                });
            }
        }
        let health = c.expression("health", &spec.health, HEALTH);
        let mut related = Vec::new();
        for (i, one) in spec.related.iter().enumerate() {
            related.push(c.expression(&format!("related[{i}].template"), &one.template, NAMES));
            for (j, path) in one.references.iter().enumerate() {
                c.path(&format!("related[{i}].references[{j}]"), path);
            }
        }
        for (i, path) in spec.pod_templates.iter().enumerate() {
            c.path(&format!("podTemplates[{i}]"), path);
        }
        if spec.names.namespace == "Fixed" && spec.names.fixed.is_empty() {
            c.errors
                .push("spec.names.fixed: the namespace is needed".into());
        }
        let (apart, kept) = (shares_namespaces(&spec), spec.names.name == "Keep");
        if apart && kept {
            let why = "names of several namespaces would meet in one; only Hash can be";
            c.errors.push(format!("spec.names.name: {why}"));
        }
        Self {
            spec,
            place,
            errors: c.errors,
            down,
            up,
            owned,
            combine,
            health,
            related,
        }
    }

    /// Whether the objects of several namespaces come together below.
    #[must_use]
    pub fn shares_namespaces(&self) -> bool {
        shares_namespaces(&self.spec)
    }

    /// What the rule computes on the way down depends on this, too; `None` without transforms.
    #[must_use]
    pub fn changes_down(&self) -> bool {
        !self.down.is_empty()
    }

    /// Changes a rendered body: transforms, then what the site owns, then what the kind is called.
    /// `object` is the tenant's, `site` what is known of the Site.
    ///
    /// # Errors
    /// The transform that failed, with its input.
    pub fn down(
        &self,
        body: &mut Value,
        object: &Value,
        site: &Value,
        fuel: &mut Fuel,
        hide: bool,
    ) -> Result<(), String> {
        for change in &self.down {
            change.make(body, (object, site), fuel, hide)?;
        }
        for path in &self.owned {
            path.cut(body);
        }
        let to = &self.spec.target;
        if !to.resource.is_empty() {
            let version = match to.group.as_str() {
                "" => to.version.clone(),
                group => format!("{group}/{}", to.version),
            };
            body["apiVersion"] = version.into();
            body["kind"] = to.kind.clone().into();
        }
        Ok(())
    }

    /// Changes what one site reports.
    ///
    /// # Errors
    /// The transform that failed, with its input; the status is as reported then.
    pub fn up(&self, status: &Value, object: &Value, fuel: &mut Fuel) -> Result<Value, String> {
        if self.up.is_empty() {
            return Ok(status.clone());
        }
        let mut whole = serde_json::json!({ "status": status });
        for change in &self.up {
            let seen = whole["status"].clone();
            change.make(&mut whole, (object, &seen), fuel, false)?;
        }
        Ok(whole["status"].take())
    }

    /// What the rule says of an object's health at one site; `None` when it says nothing.
    ///
    /// # Errors
    /// Why the expression has no answer.
    pub fn health(
        &self,
        object: &Value,
        status: &Value,
        fuel: &mut Fuel,
    ) -> Result<Option<Health>, String> {
        let Some(expression) = &self.health else {
            return Ok(None);
        };
        let said = expression.run(&[object, status], fuel, false);
        let said = said.map_err(|error| format!("health: {error}"))?;
        let word = match &said {
            Value::Bool(true) => "Healthy",
            Value::Bool(false) => "Progressing",
            other => other.as_str().unwrap_or_default(),
        };
        match Health::named(word) {
            Some(health) => Ok(Some(health)),
            None => {
                let said = cut(&said.to_string(), INPUT_BYTES_MAX);
                Err(format!("health: {said} is no word for health"))
            }
        }
    }

    /// How the rule combines members of the status.
    #[must_use]
    pub fn combined(&self) -> &[Combined] {
        &self.combine
    }

    /// The names of the objects that go with an object, for the related kind of this index, by
    /// reference and template.
    ///
    /// # Errors
    /// Why the template has no answer.
    pub fn names(
        &self,
        index: usize,
        object: &Value,
        fuel: &mut Fuel,
        hide: bool,
    ) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        let Some(related) = self.spec.related.get(index) else {
            return Ok(out);
        };
        for path in &related.references {
            let found = Steps::parse(path).map(|steps| steps.all(object));
            let names = found.unwrap_or_default();
            out.extend(names.iter().filter_map(|n| n.as_str().map(str::to_owned)));
        }
        if let Some(Some(template)) = self.related.get(index) {
            let said = template.run(&[object], fuel, hide);
            match said.map_err(|error| format!("related[{index}].template: {error}"))? {
                Value::String(name) => out.push(name),
                Value::Array(names) => {
                    out.extend(names.iter().filter_map(|n| n.as_str().map(str::to_owned)));
                }
                _ => return Err(format!("related[{index}].template: no names")),
            }
        }
        out.retain(|name| !name.is_empty());
        out.sort();
        out.dedup();
        out.truncate(NAMES_MAX);
        Ok(out)
    }

    /// The related kinds of one direction, with their index.
    pub fn related(&self, up: bool) -> impl Iterator<Item = (usize, &Related)> {
        let all = self.spec.related.iter().enumerate();
        all.filter(move |(_, related)| related.is_up() == up)
    }
}

impl Combined {
    /// The value of an expression over what the sites say.
    ///
    /// # Errors
    /// Why it has none.
    pub fn run(&self, object: &Value, sites: &Value, fuel: &mut Fuel) -> Result<Value, String> {
        match &self.expression {
            Some(expression) => expression.run(&[object, sites], fuel, false),
            None => Ok(Value::Null),
        }
    }
}

impl Change {
    fn make(
        &self,
        tree: &mut Value,
        (object, third): (&Value, &Value),
        fuel: &mut Fuel,
        hide: bool,
    ) -> Result<(), String> {
        let failed = |error: String| format!("{}: {error}", self.label);
        self.path.edit(tree, &mut |found| {
            let this = found.unwrap_or(&Value::Null);
            let inputs = [object, this, third];
            if let Some(when) = &self.when {
                let said = when.run(&inputs, fuel, hide).map_err(failed)?;
                if said != Value::Bool(true) {
                    return Ok(Edit::Keep);
                }
            }
            let Some(value) = &self.value else {
                return Ok(found.map_or(Edit::Keep, |_| Edit::Remove));
            };
            Ok(match value.run(&inputs, fuel, hide).map_err(failed)? {
                Value::Null if found.is_none() => Edit::Keep,
                Value::Null => Edit::Remove,
                value => Edit::Set(value),
            })
        })
    }
}

fn shares_namespaces(spec: &ProjectionRuleSpec) -> bool {
    matches!(spec.names.namespace.as_str(), "Workspace" | "Fixed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(spec: Value) -> Rule {
        let spec: ProjectionRuleSpec = serde_json::from_value(spec).unwrap();
        Rule::compile(spec, (String::new(), String::new()))
    }

    #[test]
    fn a_body_is_changed_renamed_and_lightened() {
        let rule = rule(json!({
            "group": "example.com", "resource": "certs",
            "target": {"group": "cert-manager.io", "version": "v1", "resource": "certificates",
                       "kind": "Certificate"},
            "down": [
                {"path": "spec.issuerRef.name", "expression": "'ca-' + site.labels.region"},
                {"path": "spec.names[]", "expression": "self + '.example.com'"},
                {"path": "spec.size", "remove": true, "when": "self > 3"},
                {"path": "metadata.labels['a.b/c']", "expression": "object.metadata.name"},
            ],
            "siteOwned": ["spec.replicas"],
        }));
        assert!(rule.errors.is_empty(), "{:?}", rule.errors);
        let object = json!({"metadata": {"name": "web"}});
        let site = json!({"labels": {"region": "eu"}});
        let mut body = json!({
            "apiVersion": "example.com/v1", "kind": "Cert", "metadata": {},
            "spec": {"names": ["a", "b"], "size": 4, "replicas": 2},
        });
        let mut fuel = Fuel::default();
        rule.down(&mut body, &object, &site, &mut fuel, false)
            .unwrap();
        assert_eq!(
            body,
            json!({
                "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
                "metadata": {"labels": {"a.b/c": "web"}},
                "spec": {"names": ["a.example.com", "b.example.com"],
                         "issuerRef": {"name": "ca-eu"}},
            })
        );
        let said = rule.down(&mut body, &object, &json!({}), &mut fuel, false);
        let said = said.unwrap_err();
        let want = "down[0] spec.issuerRef.name: no such key: labels; input: site = {}";
        assert_eq!(said, want);
    }

    #[test]
    fn a_status_is_changed_and_judged() {
        let rule = rule(json!({
            "resource": "certs",
            "up": [{"path": "status.state", "expression": "status.phase == 'Issued' ? 'ok' : 'no'"},
                   {"path": "status.phase", "remove": true}],
            "health": "status.state == 'ok' ? 'Healthy' : 'Degraded'",
        }));
        let object = json!({});
        let mut fuel = Fuel::default();
        let status = rule
            .up(&json!({"phase": "Issued"}), &object, &mut fuel)
            .unwrap();
        assert_eq!(status, json!({"state": "ok"}));
        let health = rule.health(&object, &status, &mut fuel);
        assert_eq!(health, Ok(Some(Health::Healthy)));
        let said = rule.health(&object, &json!({}), &mut fuel).unwrap_err();
        assert_eq!(said, "health: no such key: state; input: status = {}");
    }

    #[test]
    fn mistakes_are_told() {
        let rows = [
            (
                json!({"down": [{"path": "spec.x", "expression": "1 +"}]}),
                "spec.down[0].expression",
            ),
            (
                json!({"down": [{"path": "status.x", "expression": "1"}]}),
                "never travels down",
            ),
            (
                json!({"up": [{"path": "spec.x", "expression": "1"}]}),
                "begins with status",
            ),
            (json!({"up": [{"path": "status.x"}]}), "exactly one of"),
            (json!({"siteOwned": ["a..b"]}), "spec.siteOwned[0]"),
            (json!({"health": "nobody.knows"}), "spec.health"),
            (
                json!({"combine": [{"path": "x", "how": "Expression"}]}),
                "spec.combine[0]",
            ),
            (json!({"names": {"namespace": "Fixed"}}), "spec.names.fixed"),
            (
                json!({"names": {"namespace": "Workspace", "name": "Keep"}}),
                "only Hash",
            ),
            (
                json!({"related": [{"resource": "secrets", "template": "("}]}),
                "spec.related[0]",
            ),
        ];
        for (mut spec, want) in rows {
            spec["resource"] = json!("things");
            let errors = rule(spec).errors;
            assert!(
                errors.iter().any(|e| e.contains(want)),
                "{want}: {errors:?}"
            );
        }
    }

    #[test]
    fn related_names_come_from_references_and_templates() {
        let rule = rule(json!({
            "resource": "databases",
            "related": [{"resource": "secrets", "direction": "Down",
                         "references": ["spec.users[].secret"],
                         "template": "object.metadata.name + '-admin'"}],
        }));
        let object = json!({
            "metadata": {"name": "db"}, "spec": {"users": [{"secret": "u1"}, {"secret": "u2"}]},
        });
        let mut fuel = Fuel::default();
        let names = rule.names(0, &object, &mut fuel, false).unwrap();
        assert_eq!(names, ["db-admin", "u1", "u2"]);
        let said = rule.names(0, &json!({}), &mut fuel, false).unwrap_err();
        assert!(
            said.starts_with("related[0].template: no such key: metadata"),
            "{said}"
        );
    }
}

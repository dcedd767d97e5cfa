//! Which requests are audited, and how much of them: policies of `audit.k8s.io/v1`.
//!
//! Start at [`Policy::decide`]. Everything of the format is understood (AUD-03, AUD-04); what is
//! not known is refused when the policy is read, so that nobody relies on a rule without effect.

use serde_json::Value;

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Everything but bodies.
    Metadata,
    /// The body of the request as well.
    Request,
    /// And that of the answer.
    RequestResponse,
}

impl Level {
    /// The word of the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let all = [
            Self::None,
            Self::Metadata,
            Self::Request,
            Self::RequestResponse,
        ];
        let found = all.into_iter().find(|level| level.as_str() == word);
        found.ok_or_else(|| format!("unknown audit level {word:?}"))
    }
}

/// When an event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is known who asks for what; nothing was done yet.
    RequestReceived,
    /// The headers of a long answer are on their way.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// Answering failed inside the server.
    Panic,
}

impl Stage {
    const ALL: [Self; 4] = [
        Self::RequestReceived,
        Self::ResponseStarted,
        Self::ResponseComplete,
        Self::Panic,
    ];

    /// The word of the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// What of a request the policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// User name.
    pub user: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// Verb.
    pub verb: &'a str,
    /// Whether the path addresses a resource.
    pub is_resource: bool,
    /// Path, for other requests.
    pub path: &'a str,
    /// API group.
    pub group: &'a str,
    /// Resource.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Namespace, empty for cluster-scoped.
    pub namespace: &'a str,
    /// Object name.
    pub name: &'a str,
}

#[derive(Debug, Default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    urls: Vec<String>,
    omit_stages: Stages,
    omit_managed: Option<bool>,
}

/// A set of stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stages(u8);

impl Stages {
    fn parse(value: &Value) -> Result<Self, String> {
        let mut set = 0;
        for word in strings(value, "omitStages")? {
            let found = Stage::ALL.into_iter().find(|stage| stage.as_str() == word);
            let stage = found.ok_or_else(|| format!("unknown audit stage {word:?}"))?;
            set |= 1 << stage as u8;
        }
        Ok(Self(set))
    }
}

/// What a policy says about one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// How much of it is recorded.
    pub level: Level,
    /// Whether `metadata.managedFields` is left out of bodies.
    pub omit_managed: bool,
    omitted: Stages,
}

impl Decision {
    /// Whether an event of this stage is wanted.
    #[must_use]
    pub fn wants(&self, stage: Stage) -> bool {
        self.level > Level::None && self.omitted.0 & (1 << stage as u8) == 0
    }
}

/// An audit policy: the first rule that fits decides.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Stages,
    omit_managed: bool,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// Another kind, or an unknown level or stage.
    pub fn from_value(document: &Value) -> Result<Self, String> {
        let text = |name: &str| {
            document
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if text("kind") != "Policy" || text("apiVersion") != "audit.k8s.io/v1" {
            return Err("an audit policy is of kind Policy in audit.k8s.io/v1".to_owned());
        }
        let rules = document.get("rules").and_then(Value::as_array);
        let rules = rules.ok_or("an audit policy needs rules")?;
        let rules = rules
            .iter()
            .map(Rule::from_value)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rules,
            omit_stages: Stages::parse(document)?,
            omit_managed: flag(document)?.unwrap_or(false),
        })
    }

    /// What is recorded of a request: the first rule that fits decides; none is nothing.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(subject)) else {
            return Decision::default();
        };
        Decision {
            level: rule.level,
            omit_managed: rule.omit_managed.unwrap_or(self.omit_managed),
            omitted: Stages(rule.omit_stages.0 | self.omit_stages.0),
        }
    }
}

fn flag(value: &Value) -> Result<Option<bool>, String> {
    match value.get("omitManagedFields") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err("omitManagedFields must be true or false".to_owned()),
    }
}

fn strings(value: &Value, name: &str) -> Result<Vec<String>, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{name} must be a list of strings")),
        Some(_) => Err(format!("{name} must be a list of strings")),
    }
}

impl Rule {
    fn from_value(value: &Value) -> Result<Self, String> {
        let level = value.get("level").and_then(Value::as_str);
        let level = Level::parse(level.unwrap_or_default())?;
        let resources = value.get("resources").and_then(Value::as_array);
        let resources = resources.map(Vec::as_slice).unwrap_or_default();
        let resources = resources
            .iter()
            .map(|item| {
                Ok(GroupResources {
                    group: item
                        .get("group")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                    resources: strings(item, "resources")?,
                    names: strings(item, "resourceNames")?,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            level,
            users: strings(value, "users")?,
            groups: strings(value, "userGroups")?,
            verbs: strings(value, "verbs")?,
            resources,
            namespaces: strings(value, "namespaces")?,
            urls: strings(value, "nonResourceURLs")?,
            omit_stages: Stages::parse(value)?,
            omit_managed: flag(value)?,
        })
    }

    fn matches(&self, s: &Subject<'_>) -> bool {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|i| i == value);
        let in_groups =
            self.groups.is_empty() || s.groups.iter().any(|g| self.groups.iter().any(|w| w == g));
        any(&self.users, s.user) && in_groups && any(&self.verbs, s.verb) && self.matches_target(s)
    }

    fn matches_target(&self, s: &Subject<'_>) -> bool {
        if self.urls.is_empty() && self.resources.is_empty() && self.namespaces.is_empty() {
            return true;
        }
        if !s.is_resource {
            return self
                .urls
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => s.path.starts_with(prefix),
                    None => s.path == pattern,
                });
        }
        if !self.urls.is_empty() && self.resources.is_empty() && self.namespaces.is_empty() {
            return false;
        }
        let in_namespace =
            self.namespaces.is_empty() || self.namespaces.iter().any(|n| n == s.namespace);
        in_namespace
            && (self.resources.is_empty() || self.resources.iter().any(|group| group.matches(s)))
    }
}

impl GroupResources {
    fn matches(&self, s: &Subject<'_>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == s.name);
        self.group == s.group
            && named
            && (self.resources.is_empty() || self.resources.iter().any(|r| fits(r, s)))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`.
fn fits(pattern: &str, s: &Subject<'_>) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || (pattern == s.resource && s.subresource.is_empty()),
        Some((resource, subresource)) => {
            (resource == "*" || resource == s.resource)
                && (subresource == "*" || subresource == s.subresource)
                && !s.subresource.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(rules: Value) -> Policy {
        let document = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
        Policy::from_value(&document).unwrap()
    }

    fn subject() -> Subject<'static> {
        Subject {
            user: "jane",
            groups: &[],
            verb: "get",
            is_resource: true,
            path: "/api/v1/namespaces/a/pods/p/log",
            group: "",
            resource: "pods",
            subresource: "log",
            namespace: "a",
            name: "p",
        }
    }

    fn check(rule: Value, subject: &Subject<'_>, wanted: bool) {
        let decided = policy(json!([rule]))
            .decide(subject)
            .wants(Stage::ResponseComplete);
        assert_eq!(decided, wanted, "{rule}");
    }

    #[test]
    fn rules_select_as_kubernetes_does() {
        let s = subject();
        check(json!({"level": "Metadata"}), &s, true);
        check(json!({"level": "None"}), &s, false);
        check(json!({"level": "Metadata", "users": ["joe"]}), &s, false);
        check(
            json!({"level": "Metadata", "omitStages": ["ResponseComplete"]}),
            &s,
            false,
        );
        for (pattern, wanted) in [
            ("pods", false),
            ("pods/log", true),
            ("pods/*", true),
            ("*/log", true),
            ("*", true),
        ] {
            let resources = json!([{"group": "", "resources": [pattern]}]);
            check(
                json!({"level": "Metadata", "resources": resources}),
                &s,
                wanted,
            );
        }
        check(
            json!({"level": "Metadata", "nonResourceURLs": ["/api*"]}),
            &s,
            false,
        );
        let path = Subject {
            is_resource: false,
            path: "/version",
            ..s
        };
        check(
            json!({"level": "Metadata", "nonResourceURLs": ["/ver*"]}),
            &path,
            true,
        );
        check(
            json!({"level": "Metadata", "namespaces": ["a"]}),
            &path,
            false,
        );
    }

    #[test]
    fn rules_add_to_what_the_policy_omits() {
        let rule = json!({"level": "Request", "omitStages": ["RequestReceived"]});
        let mut document = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["Panic"], "omitManagedFields": true, "rules": [rule]});
        let decided = Policy::from_value(&document).unwrap().decide(&subject());
        assert_eq!(
            (decided.level, decided.omit_managed),
            (Level::Request, true)
        );
        let wanted = Stage::ALL.map(|stage| decided.wants(stage));
        assert_eq!(wanted, [false, true, true, false]);
        document["rules"][0]["omitManagedFields"] = false.into();
        let decided = Policy::from_value(&document).unwrap().decide(&subject());
        assert!(!decided.omit_managed);
    }

    #[test]
    fn words_that_are_unknown_are_refused() {
        for rule in [
            json!({"level": "Everything"}),
            json!({}),
            json!({"level": "None", "omitStages": ["Never"]}),
            json!({"level": "None", "omitManagedFields": "yes"}),
            json!({"level": "None", "users": "jane"}),
        ] {
            let document =
                json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]});
            assert!(Policy::from_value(&document).is_err(), "{document}");
        }
    }
}

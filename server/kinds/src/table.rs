//! The columns of tables: paths for custom resources, functions for built-in kinds.
//!
//! Start at [`Columns`]. A built-in kind's row in [`crate::builtin`] names one of the
//! [`NativeColumns`] below; its heads and its cells stand next to each other there.

use hanse_json::{Value, get, get_array, get_i64, get_object, get_str, json};
use hanse_wire::table::{Column, PrinterColumn, default_cells, default_columns};
use hanse_wire::time;

/// How objects become rows.
#[derive(Clone, Debug)]
pub enum Columns {
    /// There is no table form (reviews).
    None,
    /// Name and creation time.
    Default,
    /// As a CRD defines them, behind the name.
    Printer(Vec<PrinterColumn>),
    /// As Kubernetes prints its own kinds.
    Native(&'static NativeColumns),
}

/// Heads (a `+` in front: wide output only; `#`: a number) and cells of a built-in kind.
#[derive(Debug)]
pub struct NativeColumns {
    heads: &'static [&'static str],
    cells: fn(&Value, i64) -> Vec<Value>,
}

impl Columns {
    /// The heads of the columns.
    pub fn heads(&self) -> Vec<Column> {
        match self {
            Columns::None => Vec::new(),
            Columns::Default => default_columns(),
            Columns::Printer(columns) => {
                let own = columns.iter().map(|column| column.column.clone());
                std::iter::once(Column::name()).chain(own).collect()
            }
            Columns::Native(native) => native.heads.iter().map(|head| native_head(head)).collect(),
        }
    }

    /// The cells of one object; `now` in microseconds.
    pub fn cells(&self, object: &Value, now: i64) -> Vec<Value> {
        match self {
            Columns::None => Vec::new(),
            Columns::Default => default_cells(object),
            Columns::Printer(columns) => {
                let name = json!(text(object, &["metadata", "name"]));
                let own = columns.iter().map(|column| column.cell(object, now));
                std::iter::once(name).chain(own).collect()
            }
            Columns::Native(native) => (native.cells)(object, now),
        }
    }

    /// The `rows` of a table: kinds with the default columns have null instead of an empty list.
    pub fn rows(&self, rows: Vec<Value>) -> Value {
        match self {
            Columns::Default if rows.is_empty() => Value::Null,
            _ => Value::Array(rows),
        }
    }
}

fn native_head(head: &str) -> Column {
    let (wide, head) = head
        .strip_prefix('+')
        .map_or((false, head), |head| (true, head));
    let (number, head) = head
        .strip_prefix('#')
        .map_or((false, head), |head| (true, head));
    let mut column = if head == "Name" {
        Column::name()
    } else {
        Column::text(head)
    };
    if number {
        column.kind = "integer".to_owned();
    }
    if wide { column.wide() } else { column }
}

fn text<'v>(object: &'v Value, path: &[&str]) -> &'v str {
    get_str(object, path).unwrap_or_default()
}

fn name(object: &Value) -> Value {
    json!(text(object, &["metadata", "name"]))
}

fn age(object: &Value, now: i64) -> Value {
    json!(time::age(
        get_str(object, &["metadata", "creationTimestamp"]),
        now
    ))
}

fn size(object: &Value, path: &[&str]) -> usize {
    match get(object, path) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

/// Namespace.
pub static NAMESPACE: NativeColumns = NativeColumns {
    heads: &["Name", "Status", "Age"],
    cells: |o, now| vec![name(o), json!(text(o, &["status", "phase"])), age(o, now)],
};

/// ConfigMap.
pub static CONFIG_MAP: NativeColumns = NativeColumns {
    heads: &["Name", "Data", "Age"],
    cells: |o, now| {
        vec![
            name(o),
            json!(size(o, &["data"]) + size(o, &["binaryData"])),
            age(o, now),
        ]
    },
};

/// Secret.
pub static SECRET: NativeColumns = NativeColumns {
    heads: &["Name", "Type", "Data", "Age"],
    cells: |o, now| {
        vec![
            name(o),
            json!(text(o, &["type"])),
            json!(size(o, &["data"])),
            age(o, now),
        ]
    },
};

/// ServiceAccount.
pub static SERVICE_ACCOUNT: NativeColumns = NativeColumns {
    heads: &["Name", "Age"],
    cells: |o, now| vec![name(o), age(o, now)],
};

/// Event, in the form of the core group.
pub static EVENT: NativeColumns = NativeColumns {
    heads: &[
        "Last Seen",
        "Type",
        "Reason",
        "Object",
        "+Subobject",
        "+Source",
        "Message",
        "+First Seen",
        "+Count",
        "+Name",
    ],
    cells: event,
};

/// Event, in the form of events.k8s.io.
pub static NEW_EVENT: NativeColumns = NativeColumns {
    heads: EVENT.heads,
    cells: |object, now| {
        let mut core = object.clone();
        match crate::events::convert(&mut core, "events.k8s.io/v1", "v1") {
            Ok(()) => event(&core, now),
            Err(_) => default_cells(object),
        }
    },
};

fn event(o: &Value, now: i64) -> Vec<Value> {
    let since = |path: &[&str]| get_str(o, path).map(|then| time::age(Some(then), now));
    let unknown = || "<unknown>".to_owned();
    let first = since(&["firstTimestamp"]).or_else(|| since(&["eventTime"]));
    let first = first.unwrap_or_else(unknown);
    let series = get_object(o, &["series"]).is_some();
    let (last, count) = if series {
        let last = since(&["series", "lastObservedTime"]).unwrap_or_else(unknown);
        (last, get_i64(o, &["series", "count"]).unwrap_or_default())
    } else {
        let last = since(&["lastTimestamp"]).unwrap_or_else(|| first.clone());
        (
            last,
            get_i64(o, &["count"])
                .filter(|count| *count != 0)
                .unwrap_or(1),
        )
    };
    let mut target = text(o, &["involvedObject", "kind"]).to_lowercase();
    let involved = text(o, &["involvedObject", "name"]);
    if !involved.is_empty() {
        target = format!("{target}/{involved}");
    }
    let either = |a: &str, b: &str| {
        if a.is_empty() {
            b.to_owned()
        } else {
            a.to_owned()
        }
    };
    let component = either(
        text(o, &["source", "component"]),
        text(o, &["reportingComponent"]),
    );
    let host = either(
        text(o, &["source", "host"]),
        text(o, &["reportingInstance"]),
    );
    let source = if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    };
    vec![
        json!(last),
        json!(text(o, &["type"])),
        json!(text(o, &["reason"])),
        json!(target),
        json!(text(o, &["involvedObject", "fieldPath"])),
        json!(source),
        json!(text(o, &["message"]).trim()),
        json!(first),
        json!(count),
        name(o),
    ]
}

/// ResourceQuota.
pub static RESOURCE_QUOTA: NativeColumns = NativeColumns {
    heads: &["Name", "Request", "Limit", "Age"],
    cells: |o, now| {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (resource, hard) in get_object(o, &["status", "hard"]).into_iter().flatten() {
            let used = get_str(o, &["status", "used", resource]).unwrap_or("0");
            let cell = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
            match resource.starts_with("limits.") {
                true => limits.push(cell),
                false => requests.push(cell),
            }
        }
        vec![
            name(o),
            json!(requests.join(", ")),
            json!(limits.join(", ")),
            age(o, now),
        ]
    },
};

/// RoleBinding and ClusterRoleBinding.
pub static BINDING: NativeColumns = NativeColumns {
    heads: &[
        "Name",
        "Role",
        "Age",
        "+Users",
        "+Groups",
        "+ServiceAccounts",
    ],
    cells: |o, now| {
        let (kind, role) = (text(o, &["roleRef", "kind"]), text(o, &["roleRef", "name"]));
        let subjects = |kind: &str| -> Value {
            let of_kind = get_array(o, &["subjects"])
                .iter()
                .filter(|s| text(s, &["kind"]) == kind);
            let names = of_kind.map(|subject| match kind {
                "ServiceAccount" => {
                    format!(
                        "{}/{}",
                        text(subject, &["namespace"]),
                        text(subject, &["name"])
                    )
                }
                _ => text(subject, &["name"]).to_owned(),
            });
            json!(names.collect::<Vec<_>>().join(", "))
        };
        vec![
            name(o),
            json!(format!("{kind}/{role}")),
            age(o, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

/// CertificateSigningRequest.
pub static CSR: NativeColumns = NativeColumns {
    heads: &[
        "Name",
        "Age",
        "SignerName",
        "Requestor",
        "RequestedDuration",
        "Condition",
    ],
    cells: |o, now| {
        let signer = get_str(o, &["spec", "signerName"]).filter(|signer| !signer.is_empty());
        let seconds = get_i64(o, &["spec", "expirationSeconds"]);
        let duration = seconds.map(|n| time::human_duration(n.saturating_mul(1_000_000)));
        let conditions = get_array(o, &["status", "conditions"]);
        let has = |kind: &str| conditions.iter().any(|c| text(c, &["type"]) == kind);
        let mut condition = match (has("Denied"), has("Approved")) {
            (true, _) => "Denied".to_owned(),
            (false, true) => "Approved".to_owned(),
            (false, false) => "Pending".to_owned(),
        };
        if has("Failed") {
            condition.push_str(",Failed");
        }
        if !text(o, &["status", "certificate"]).is_empty() {
            condition.push_str(",Issued");
        }
        vec![
            name(o),
            age(o, now),
            json!(signer.unwrap_or("<none>")),
            json!(text(o, &["spec", "username"])),
            json!(duration.as_deref().unwrap_or("<none>")),
            json!(condition),
        ]
    },
};

/// Lease.
pub static LEASE: NativeColumns = NativeColumns {
    heads: &["Name", "Holder", "Age"],
    cells: |o, now| {
        vec![
            name(o),
            json!(text(o, &["spec", "holderIdentity"])),
            age(o, now),
        ]
    },
};

/// Both webhook configurations.
pub static WEBHOOKS: NativeColumns = NativeColumns {
    heads: &["Name", "#Webhooks", "Age"],
    cells: |o, now| vec![name(o), json!(size(o, &["webhooks"])), age(o, now)],
};

/// ValidatingAdmissionPolicy.
pub static VALIDATING_POLICY: NativeColumns = NativeColumns {
    heads: &["Name", "#Validations", "ParamKind", "Age"],
    cells: |o, now| {
        vec![
            name(o),
            json!(size(o, &["spec", "validations"])),
            param_kind(o),
            age(o, now),
        ]
    },
};

/// MutatingAdmissionPolicy.
pub static MUTATING_POLICY: NativeColumns = NativeColumns {
    heads: &["Name", "#Mutations", "ParamKind", "Age"],
    cells: |o, now| {
        vec![
            name(o),
            json!(size(o, &["spec", "mutations"])),
            param_kind(o),
            age(o, now),
        ]
    },
};

fn param_kind(o: &Value) -> Value {
    if get_object(o, &["spec", "paramKind"]).is_none() {
        return json!("<unset>");
    }
    let part = |name: &str| text(o, &["spec", "paramKind", name]);
    json!(format!("{}/{}", part("apiVersion"), part("kind")))
}

/// Bindings of both kinds of policies.
pub static POLICY_BINDING: NativeColumns = NativeColumns {
    heads: &["Name", "PolicyName", "ParamRef", "Age"],
    cells: |o, now| {
        let part = |name: &str| text(o, &["spec", "paramRef", name]);
        let param = match (part("namespace"), part("name")) {
            (_, "") => get(o, &["spec", "paramRef", "selector"])
                .map_or_else(|| "<unset>".to_owned(), selector_text),
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        vec![
            name(o),
            json!(text(o, &["spec", "policyName"])),
            json!(param),
            age(o, now),
        ]
    },
};

/// A label selector as Go prints the struct.
fn selector_text(selector: &Value) -> String {
    let labels = get_object(selector, &["matchLabels"]).into_iter().flatten();
    let labels: String = labels
        .map(|(k, v)| format!("{k}: {},", v.as_str().unwrap_or_default()))
        .collect();
    let expressions = get_array(selector, &["matchExpressions"])
        .iter()
        .map(|expression| {
            let values = get_array(expression, &["values"])
                .iter()
                .filter_map(Value::as_str);
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                text(expression, &["key"]),
                text(expression, &["operator"]),
                values.collect::<Vec<_>>().join(" ")
            )
        });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        expressions.collect::<String>()
    )
}

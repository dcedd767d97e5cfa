//! What a site gets otherwise than others: JSON patches and computed fields.
//!
//! Start at [`Policy::overridden`]. Invariant: an override changes what an object says, never what
//! it is: its kind, its name and its place stay, and nothing but labels and annotations may stand
//! in its metadata. One that fails leaves no half-changed object, and says with which input.

use hanse_apis::sites::{ComputedField, Override, PatchStep, Source};
use hanse_apply::patch::json_patch;
use hanse_cel::{Binding, Budget, Program};
use serde_json::{Map, Value, json};

use super::policy::{Failure, Policy};
use super::{Candidate, selected};

/// Cost that one computed field may spend.
pub const FIELD_COST: u64 = 100_000;

/// Whether an override is for a kind: `listed` when a Placement selects the object itself.
fn is_for(entry: &Override, source: &Source, listed: bool) -> bool {
    let kind = match source.group.as_str() {
        "" => source.resource.clone(),
        group => format!("{}.{group}", source.resource),
    };
    match entry.resources.is_empty() {
        true => listed,
        false => entry.resources.contains(&kind),
    }
}

impl Policy {
    /// The body as a site gets it. `listed` says whether the Placement selects the object itself,
    /// or it only goes along. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The first override that failed.
    pub fn overridden(
        &self,
        body: Value,
        (source, listed): (&Source, bool),
        site: &Candidate,
        now: i64,
    ) -> Result<Value, Failure> {
        let mut out = body;
        for (index, entry) in self.spec.overrides.iter().enumerate() {
            if !is_for(entry, source, listed) || selected(&entry.sites, site, now).is_some() {
                continue;
            }
            let fail = |part: &str, message: String| Failure {
                field: format!("spec.overrides[{index}]{part}"),
                message,
            };
            let before = identity(&out);
            if !entry.patch.is_empty() {
                let steps: Vec<Value> = entry.patch.iter().map(step).collect();
                let patched = json_patch(&out, &Value::Array(steps));
                out = patched.map_err(|error| fail(".patch", error.to_string()))?;
            }
            let programs = self
                .fields
                .get(index)
                .map(Vec::as_slice)
                .unwrap_or_default();
            for (at, (field, program)) in entry.fields.iter().zip(programs).enumerate() {
                compute(&mut out, field, program, site)
                    .map_err(|message| fail(&format!(".fields[{at}]"), message))?;
            }
            if identity(&out) != before || !is_plain(&out) {
                let message = "an override may not change what the object is, nor its metadata \
                               but for labels and annotations, nor its status";
                return Err(fail("", message.into()));
            }
        }
        Ok(out)
    }
}

fn step(step: &PatchStep) -> Value {
    let mut out = json!({"op": step.op, "path": step.path});
    match step.op.as_str() {
        "move" | "copy" => out["from"] = json!(step.from),
        "remove" => {}
        _ => out["value"] = step.value.0.clone(),
    }
    out
}

fn identity(object: &Value) -> (Value, Value) {
    (object["apiVersion"].clone(), object["kind"].clone())
}

fn is_plain(object: &Value) -> bool {
    let kept = |meta: &Map<String, Value>| {
        meta.iter().all(|(key, value)| {
            matches!(key.as_str(), "labels" | "annotations") && value.is_object()
        })
    };
    object.get("status").is_none()
        && object
            .get("metadata")
            .is_none_or(|m| m.as_object().is_some_and(kept))
}

fn compute(
    object: &mut Value,
    field: &ComputedField,
    program: &Result<Program, String>,
    site: &Candidate,
) -> Result<(), String> {
    let program = program.as_ref().map_err(Clone::clone)?;
    let about = about(site);
    let value = {
        let object: &Value = object;
        let budget = Budget {
            cost: FIELD_COST,
            ..Budget::default()
        };
        let bind = |name: &str| match name {
            "site" => Binding::Json(&about),
            _ => Binding::Json(object),
        };
        let (result, _) = program.eval(&bind, budget);
        let result = result.map_err(|error| error.to_string())?;
        let json = result.to_json();
        json.ok_or_else(|| format!("evaluated to {}, which is no JSON", result.type_name()))?
    };
    put(object, &field.path, value)
}

/// What expressions see of a site.
fn about(site: &Candidate) -> Value {
    json!({"name": site.name, "labels": site.labels, "facts": site.facts})
}

/// Puts a value at a JSON pointer; objects on the way are made.
fn put(object: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    let Some(path) = pointer.strip_prefix('/') else {
        return Err(format!("{pointer:?} is no JSON pointer below the object"));
    };
    let steps: Vec<String> = path
        .split('/')
        .map(|s| s.replace("~1", "/").replace("~0", "~"))
        .collect();
    let mut at = object;
    for step in &steps {
        at = match at {
            Value::Object(map) => map.entry(step.clone()).or_insert(Value::Null),
            Value::Array(list) => {
                let index: Option<usize> = step.parse().ok();
                let found = index.and_then(|index| list.get_mut(index));
                found.ok_or_else(|| format!("{pointer}: there is no item {step}"))?
            }
            Value::Null => {
                *at = json!({step.as_str(): null});
                match at.get_mut(step.as_str()) {
                    Some(made) => made,
                    None => return Err(format!("{pointer}: cannot be made")),
                }
            }
            _ => return Err(format!("{pointer}: {step} is below a value")),
        };
    }
    *at = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Candidate {
        let mut site = Candidate::named("berlin", "uid");
        site.facts.region = "eu".into();
        site
    }

    fn apply(overrides: Value, listed: bool) -> Result<Value, String> {
        let spec = json!({"objects": [], "overrides": overrides});
        let policy = Policy::new(serde_json::from_value(spec).unwrap());
        let body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"a": "b"}},
            "spec": {"replicas": 4, "list": [{"image": "x:1"}]},
        });
        let source = Source {
            group: "apps".into(),
            resource: "deployments".into(),
            ..Source::default()
        };
        let out = policy.overridden(body, (&source, listed), &site(), 0);
        out.map_err(|f| format!("{}: {}", f.field, f.message))
    }

    fn spec(overrides: Value) -> Value {
        apply(overrides, true).unwrap()["spec"].clone()
    }

    #[test]
    fn patches_and_fields_change_what_chosen_sites_get() {
        let image = json!([{"patch": [
            {"op": "replace", "path": "/spec/list/0/image", "value": "mirror/x:1"},
            {"op": "test", "path": "/spec/replicas", "value": 4},
        ]}]);
        assert_eq!(spec(image)["list"][0]["image"], "mirror/x:1");
        let fields = json!([{"fields": [
            {"path": "/spec/list/0/image", "expression": "site.name + '/' + object.spec.list[0].image"},
            {"path": "/spec/a/b", "expression": "{'region': site.facts.region, 'name': site.name}"},
            {"path": "/spec/n", "expression": "object.spec.replicas * 2"},
        ]}]);
        let out = spec(fields);
        assert_eq!(out["list"][0]["image"], "berlin/x:1");
        assert_eq!(out["a"]["b"], json!({"region": "eu", "name": "berlin"}));
        assert_eq!(out["n"], 8);
        let elsewhere = json!([{"sites": {"names": ["rome"]}, "patch": [
            {"op": "remove", "path": "/spec/replicas"}]}]);
        assert_eq!(spec(elsewhere)["replicas"], 4);
    }

    #[test]
    fn overrides_are_for_kinds() {
        let patch = json!([{"op": "remove", "path": "/spec/replicas"}]);
        let all = json!([{"patch": patch}]);
        let named = json!([{"resources": ["deployments.apps"], "patch": patch}]);
        let other = json!([{"resources": ["secrets"], "patch": patch}]);
        for (overrides, listed, changed) in [
            (&all, true, true),
            (&all, false, false),
            (&named, true, true),
            (&named, false, true),
            (&other, true, false),
        ] {
            let out = apply(overrides.clone(), listed).unwrap();
            assert_eq!(
                out["spec"].get("replicas").is_none(),
                changed,
                "{overrides}"
            );
        }
    }

    #[test]
    fn what_fails_says_where_and_changes_nothing() {
        for (overrides, told) in [
            (
                json!([{"patch": [{"op": "remove", "path": "/spec/x"}]}]),
                "spec.overrides[0].patch: ",
            ),
            (
                json!([{}, {"fields": [{"path": "/spec/x", "expression": "object.spec.y"}]}]),
                "spec.overrides[1].fields[0]: no such key: y",
            ),
            (
                json!([{"fields": [{"path": "/spec/replicas/x", "expression": "1"}]}]),
                "spec.overrides[0].fields[0]: /spec/replicas/x: x is below a value",
            ),
            (
                json!([{"patch": [{"op": "replace", "path": "/kind", "value": "Secret"}]}]),
                "spec.overrides[0]: an override may not change what",
            ),
            (
                json!([{"fields": [{"path": "/metadata/name", "expression": "'x'"}]}]),
                "spec.overrides[0]: an override may not change what",
            ),
            (
                json!([{"fields": [{"path": "/status/x", "expression": "1"}]}]),
                "spec.overrides[0]: an override may not change what",
            ),
        ] {
            let error = apply(overrides, true).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}

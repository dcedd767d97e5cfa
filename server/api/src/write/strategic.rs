//! How the lists of a kind merge in strategic merge patches.
//!
//! The facts are `hanse-kinds`'; the form is `hanse-apply`'s; here the one is put into the other.
//! Every kind merges the lists of its metadata; what is not in the table is replaced whole.

use hanse_apply::patch::MergeSchema;
use hanse_json::{Value, entry_object, json};
use hanse_kinds::{ResourceDef, native_merge_table};

/// The merge rules of a kind that Kubernetes defines.
#[must_use]
pub fn merge_schema(def: &ResourceDef) -> MergeSchema {
    let mut rules = json!({
        "metadata": {"f": {
            "ownerReferences": {"s": "merge", "k": "uid"},
            "finalizers": {"s": "merge"},
        }},
    });
    for (path, fact) in native_merge_table(&def.group, &def.kind)
        .into_iter()
        .flatten()
    {
        // `*` stands for the items of a list, whose fields hang on the list's own rule.
        let mut steps = Vec::new();
        for name in path.split('.').filter(|name| *name != "*") {
            if !steps.is_empty() {
                steps.push("f");
            }
            steps.push(name);
        }
        let rule = entry_object(&mut rules, &steps);
        if fact.strategy.split(',').any(|word| word == "merge") {
            rule.insert("s".to_owned(), "merge".into());
        }
        if let Some(key) = &fact.key {
            rule.insert("k".to_owned(), Value::from(key.as_str()));
        }
    }
    MergeSchema::from_json(&rules)
}

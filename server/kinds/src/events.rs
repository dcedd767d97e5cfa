//! Events: one storage, two views (`v1` and `events.k8s.io/v1`), converted without loss.

use hanse_json::{Value, json};

/// Core name and new name of the fields that differ.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// The `apiVersion` of the stored form.
pub const CORE: &str = "v1";
/// The `apiVersion` of the other view.
pub const NEW: &str = "events.k8s.io/v1";

/// Turns an event of one view into the other.
///
/// # Errors
/// None today; the signature is that of every conversion.
pub fn convert(event: &mut Value, from: &str, to: &str) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    if let Some(map) = event.as_object_mut() {
        for (core, new) in RENAMED {
            let (old, renamed) = if to == NEW { (core, new) } else { (new, core) };
            if let Some(value) = map.remove(old) {
                map.insert(renamed.to_owned(), value);
            }
        }
        map.insert("apiVersion".to_owned(), json!(to));
        // What one view always shows, the other leaves out when it is empty.
        let always: &[&str] = match to == NEW {
            true => &[],
            false => &["reportingComponent", "reportingInstance"],
        };
        for name in always {
            map.entry(*name).or_insert_with(|| json!(""));
        }
        if to == NEW {
            for name in ["reportingController", "reportingInstance", "note"] {
                if map.get(name).is_some_and(|value| value == "") {
                    map.remove(name);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_there_and_back() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod"}, "message": "m", "reason": "r", "count": 2,
            "source": {"component": "c"}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": null, "reportingComponent": "", "reportingInstance": "", "type": "Normal",
        });
        let mut event = core.clone();
        convert(&mut event, CORE, NEW).unwrap();
        assert_eq!(event["note"], "m");
        assert_eq!(event["deprecatedCount"], 2);
        assert!(event.get("reportingController").is_none());
        convert(&mut event, NEW, CORE).unwrap();
        assert_eq!(event, core);
    }
}

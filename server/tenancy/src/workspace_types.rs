//! WorkspaceType status: where the views of its initializer and terminator are.

use crate::tenancy::ShardConfig;
use hanse_apis::kcp::conditions as condition;
use hanse_rules::conditions::{self, State};
use serde_json::{Value, json};

/// Sets the URLs and conditions of a type that lives in `cluster`. True if anything changed.
pub fn set_urls(
    object: &mut Value,
    shard: &ShardConfig,
    cluster: &str,
    name: &str,
    now: &str,
) -> bool {
    let url = |kind: &str| {
        let base = &shard.virtual_workspace_url;
        json!({"type": kind, "url": format!("{base}/services/{kind}workspaces/{cluster}:{name}")})
    };
    let wanted = json!([url("initializing"), url("terminating")]);
    let mut changed = object["status"]["virtualWorkspaces"] != wanted;
    object["status"]["virtualWorkspaces"] = wanted;
    let ready = condition::VIRTUAL_WORKSPACE_URLS_READY;
    changed |= conditions::set(object, ready, &State::True, now);
    changed | conditions::summarize(object, &[ready], now)
}

//! SelfSubjectRulesReview: what a user may do in a namespace, as lists of rules.

use crate::authorizer::users_in;
use crate::{Authorizer, UserInfo};
use serde_json::{Value, json};

/// Status of a SelfSubjectRulesReview: rules of `system:admin` and of the logical cluster.
#[must_use]
pub fn rules(authorizer: &Authorizer, user: &UserInfo, cluster: &str, namespace: &str) -> Value {
    let users = users_in(user, cluster);
    let rules = authorizer.grants().rules_for(&users, cluster, namespace);
    let (mut resource_rules, mut url_rules) = (Vec::new(), Vec::new());
    for rule in rules {
        let list = match rule.resources.is_empty() {
            true => &mut url_rules,
            false => &mut resource_rules,
        };
        list.push(rule.to_review());
    }
    json!({"incomplete": false, "nonResourceRules": url_rules, "resourceRules": resource_rules})
}

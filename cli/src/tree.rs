//! `kubectl ws tree`: the workspaces below the current one.
//!
//! Invariant: what is being deleted, or may not be looked at, ends its branch and nothing else.

use std::collections::VecDeque;

use anyhow::Result;
use hanse_client::{List, Resource};
use serde_json::Value;

use crate::session::Session;

/// Most workspaces that are drawn.
const NODES_MAX: usize = 10_000;

struct Node {
    label: String,
    children: Vec<usize>,
}

/// Draws the tree.
///
/// # Errors
/// When the current workspace's children cannot be listed for another reason than permission.
pub async fn draw(session: &Session, full: bool) -> Result<String> {
    let workspaces = Resource::new("tenancy.kcp.io", "v1alpha1", "workspaces");
    let mut nodes = vec![Node {
        label: label(&session.path, full),
        children: Vec::new(),
    }];
    let mut open = VecDeque::from([(0usize, session.path.clone())]);
    while let Some((at, path)) = open.pop_front() {
        let list = match session
            .workspace(&path)
            .list(&workspaces, &List::default())
            .await
        {
            Ok(list) => list,
            Err(error) if matches!(error.code(), 403 | 404) => continue,
            Err(error) => return Err(error.into()),
        };
        for workspace in list.items {
            if workspace["metadata"].get("deletionTimestamp").is_some() || nodes.len() >= NODES_MAX
            {
                continue;
            }
            let next = child_path(&workspace, &path);
            let mounted = workspace["spec"].get("mount").is_some();
            let mark = if mounted { " [m]" } else { "" };
            nodes.push(Node {
                label: format!("{}{mark}", label(&next, full)),
                children: Vec::new(),
            });
            let index = nodes.len() - 1;
            nodes[at].children.push(index);
            if !mounted {
                open.push_back((index, next));
            }
        }
    }
    let mut out = String::from(".\n");
    branch(&nodes, &[0], "", &mut out);
    Ok(out)
}

fn label(path: &str, full: bool) -> String {
    match path.rsplit_once(':') {
        Some((_, name)) if !full => name.to_owned(),
        _ => path.to_owned(),
    }
}

fn child_path(workspace: &Value, parent: &str) -> String {
    let url = workspace["spec"]["URL"].as_str().unwrap_or_default();
    match url.split_once("/clusters/") {
        Some((_, path)) => path.to_owned(),
        None => format!(
            "{parent}:{}",
            workspace["metadata"]["name"].as_str().unwrap_or_default()
        ),
    }
}

fn branch(nodes: &[Node], children: &[usize], indent: &str, out: &mut String) {
    for (i, child) in children.iter().enumerate() {
        let last = i + 1 == children.len();
        let (edge, rest) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        out.push_str(&format!("{indent}{edge}{}\n", nodes[*child].label));
        branch(
            nodes,
            &nodes[*child].children,
            &format!("{indent}{rest}"),
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_drawn_to_their_end() {
        let node = |label: &str, children: &[usize]| Node {
            label: label.into(),
            children: children.to_vec(),
        };
        let nodes = [
            node("root", &[1, 2]),
            node("a", &[3]),
            node("b", &[]),
            node("c", &[]),
        ];
        let mut out = String::new();
        branch(&nodes, &[0], "", &mut out);
        assert_eq!(out, "└── root\n    ├── a\n    │   └── c\n    └── b\n");
    }
}

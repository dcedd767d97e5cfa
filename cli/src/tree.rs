//! `kubectl ws tree`: the workspaces below the current one.
//!
//! Invariant: what is being deleted, or may not be looked at, ends its branch and nothing else.

use std::collections::VecDeque;

use anyhow::Result;
use hanse_client::{List, Resource};
use serde_json::Value;

use crate::browse;
use crate::session::Session;
use crate::table::cell;
use crate::ws::{type_text, workspaces};

/// Most workspaces that are drawn.
const NODES_MAX: usize = 10_000;

/// How it is drawn.
#[derive(clap::Args)]
pub struct Flags {
    /// Prints full paths.
    #[arg(short, long)]
    full: bool,
    /// Prints type, phase and logical cluster beside each name.
    #[arg(long)]
    wide: bool,
    /// Walks through the tree with the arrow keys, and goes where Enter is pressed.
    #[arg(short, long, conflicts_with_all = ["full", "wide"])]
    interactive: bool,
}

/// One workspace as a line of the tree.
pub(crate) struct Node {
    /// Its path.
    pub path: String,
    /// What stands beside its name: type, phase, logical cluster.
    pub facts: [String; 3],
    /// It stands for something outside, and nothing is below it.
    pub mounted: bool,
    children: Vec<usize>,
}

impl Node {
    /// A workspace of which only the path is known.
    pub(crate) fn bare(path: &str) -> Node {
        Node {
            path: path.to_owned(),
            facts: Default::default(),
            mounted: false,
            children: Vec::new(),
        }
    }

    /// Its name, or its path, with a mark for what is mounted.
    pub(crate) fn label(&self, full: bool) -> String {
        let label = match self.path.rsplit_once(':') {
            Some((_, name)) if !full => name,
            _ => &self.path,
        };
        let mark = if self.mounted { " [m]" } else { "" };
        format!("{label}{mark}")
    }
}

/// Draws, or lets the user walk.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &mut Session, flags: &Flags) -> Result<()> {
    if flags.interactive {
        return browse::run(session).await;
    }
    let mut nodes = gather(session).await?;
    if flags.wide {
        nodes[0].facts = facts_of_cluster(session).await;
    }
    print!("{}", draw(&nodes, flags.full, flags.wide));
    Ok(())
}

/// The current workspace and all below it, the first first.
async fn gather(session: &Session) -> Result<Vec<Node>> {
    let mut nodes = vec![Node::bare(&session.path)];
    let mut open = VecDeque::from([0usize]);
    while let Some(at) = open.pop_front() {
        let path = nodes[at].path.clone();
        let found = match at {
            0 => children(session, &path).await?,
            _ => below(session, &path).await?,
        };
        for child in found {
            if nodes.len() >= NODES_MAX {
                eprintln!("Warning: only the first {NODES_MAX} workspaces are shown.");
                return Ok(nodes);
            }
            let index = nodes.len();
            nodes[at].children.push(index);
            if !child.mounted {
                open.push_back(index);
            }
            nodes.push(child);
        }
    }
    Ok(nodes)
}

/// The workspaces directly below one; none where we may not look.
pub(crate) async fn below(session: &Session, path: &str) -> Result<Vec<Node>> {
    match children(session, path).await {
        Err(error) if matches!(error.code(), 403 | 404) => Ok(Vec::new()),
        other => Ok(other?),
    }
}

/// The workspaces directly below one that is there.
pub(crate) async fn children(session: &Session, path: &str) -> hanse_client::Result<Vec<Node>> {
    let there = session.workspace(path);
    let list = there.list(&workspaces(), &List::default()).await?;
    let alive = |w: &&Value| w["metadata"].get("deletionTimestamp").is_none();
    let node = |w: &Value| Node {
        path: child_path(w, path),
        facts: [
            type_text(w),
            text(&w["status"]["phase"]),
            text(&w["spec"]["cluster"]),
        ],
        mounted: w["spec"].get("mount").is_some(),
        children: Vec::new(),
    };
    Ok(list.items.iter().filter(alive).map(node).collect())
}

/// Type, phase and name of the logical cluster that we start from, as far as we may know.
async fn facts_of_cluster(session: &Session) -> [String; 3] {
    let clusters = Resource::new("core.kcp.io", "v1alpha1", "logicalclusters");
    let found = session.here().get(&clusters, "", "cluster").await;
    let cluster = found.unwrap_or_default();
    let annotations = &cluster["metadata"]["annotations"];
    [
        text(&annotations["internal.tenancy.kcp.io/type"]),
        text(&cluster["status"]["phase"]),
        text(&annotations["kcp.io/cluster"]),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
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

fn draw(nodes: &[Node], full: bool, wide: bool) -> String {
    let mut lines = Vec::new();
    branch(nodes, &[0], "", full, &mut lines);
    let mut out = String::from(".\n");
    let drawn = |(line, _): &(String, usize)| line.chars().count();
    let width = lines.iter().map(drawn).max().unwrap_or(0);
    let columns = |i: usize| {
        nodes
            .iter()
            .map(|n| cell(&n.facts[i]).chars().count())
            .max()
    };
    for (line, at) in &lines {
        let mut line = line.clone();
        if wide {
            line = format!("{line:<width$}");
            for (i, fact) in nodes[*at].facts.iter().enumerate() {
                line.push_str(&format!("   {:<1$}", cell(fact), columns(i).unwrap_or(0)));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The lines of some nodes and of all below them, each with its node.
fn branch(
    nodes: &[Node],
    children: &[usize],
    indent: &str,
    full: bool,
    lines: &mut Vec<(String, usize)>,
) {
    for (i, child) in children.iter().enumerate() {
        let last = i + 1 == children.len();
        let (edge, rest) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let node = &nodes[*child];
        lines.push((format!("{indent}{edge}{}", node.label(full)), *child));
        branch(
            nodes,
            &node.children,
            &format!("{indent}{rest}"),
            full,
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Node> {
        let node = |path: &str, phase: &str, children: &[usize]| Node {
            path: path.into(),
            facts: ["root:universal".into(), phase.into(), String::new()],
            mounted: path == "root:b",
            children: children.to_vec(),
        };
        vec![
            node("root", "Ready", &[1, 2]),
            node("root:a", "Ready", &[3]),
            node("root:b", "Initializing", &[]),
            node("root:a:c", "Ready", &[]),
        ]
    }

    #[test]
    fn branches_are_drawn_to_their_end() {
        assert_eq!(
            draw(&nodes(), false, false),
            ".\n└── root\n    ├── a\n    │   └── c\n    └── b [m]\n"
        );
        assert!(draw(&nodes(), true, false).contains("└── root:a:c\n"));
    }

    #[test]
    fn facts_stand_below_each_other() {
        assert_eq!(
            draw(&nodes(), false, true),
            ".\n\
             └── root        root:universal   Ready          <none>\n    \
             ├── a       root:universal   Ready          <none>\n    \
             │   └── c   root:universal   Ready          <none>\n    \
             └── b [m]   root:universal   Initializing   <none>\n"
        );
    }
}

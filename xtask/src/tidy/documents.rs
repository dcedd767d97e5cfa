//! What the pages promise: links lead somewhere, every dependency has its line and its reason.

use std::path::Path;

use anyhow::{Context, Result};

use super::sources;
use crate::project::Project;

/// The page with a line for each dependency.
const DEPENDENCIES: &str = "docs/dependencies.md";

/// Dead links in Markdown files, and dependencies without a reason.
pub fn check(project: &Project) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in sources::files(project, "*.md")? {
        let text = std::fs::read_to_string(&path)?;
        let dir = path.parent().unwrap_or(&project.root);
        for link in dead_links(dir, &text) {
            findings.push(format!(
                "{}: {link} leads nowhere",
                project.relative(&path).display()
            ));
        }
    }
    let manifest = std::fs::read_to_string(project.root.join("Cargo.toml"))?;
    let reasons = std::fs::read_to_string(project.root.join(DEPENDENCIES))
        .with_context(|| format!("cannot read {DEPENDENCIES}"))?;
    for name in unexplained(&manifest, &reasons) {
        findings.push(format!("{DEPENDENCIES}: no line says why there is {name}"));
    }
    Ok(findings)
}

/// The targets of relative links that are no file and no directory.
fn dead_links(dir: &Path, text: &str) -> Vec<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .filter(|target| !dir.join(target).exists())
        .map(str::to_owned)
        .collect()
}

/// The crates of `[workspace.dependencies]` that are not ours and stand nowhere in the page.
fn unexplained<'a>(manifest: &'a str, reasons: &str) -> Vec<&'a str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .filter(|name| !name.starts_with("hanse-"))
        .filter(|name| !reasons.contains(&format!("`{name}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "[a](Cargo.toml) [b](nothing.md#part) [c](https://example.com) [d](#part)";
        assert_eq!(dead_links(here, text), ["nothing.md"]);
    }

    #[test]
    fn each_dependency_needs_its_reason() {
        let manifest = "[workspace.dependencies]\nhanse-json = {}\n# data\nserde = \"1\"\n\
                        rand = \"1\"\n\n[profile.dev]\n";
        assert_eq!(unexplained(manifest, "| `serde` | reads data |"), ["rand"]);
    }
}

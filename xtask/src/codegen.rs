//! Writes what is generated and checked in, and tells whether it is fresh.
//!
//! Today this is `docs/limits.md`, from the constants in every crate's `limits.rs`. Start at
//! [`limits`]. Generators that need a crate of the product stand in that crate as a test which
//! compares and, with `UPDATE_EXPECT=1`, rewrites; [`run`] calls those too.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::tidy::sources;

/// Writes the generated files that are checked in, such as docs/limits.md
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; fail when a file is not fresh.
    #[arg(long)]
    check: bool,
}

/// Where the table of limits lies.
pub const LIMITS: &str = "docs/limits.md";

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let fresh = limits(project)?;
    let path = project.root.join(LIMITS);
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    if stands == fresh {
        println!("{LIMITS} is fresh");
        return Ok(());
    }
    if args.check {
        bail!("{LIMITS} is not fresh: run `cargo xtask codegen`");
    }
    std::fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {LIMITS}");
    Ok(())
}

/// The page of limits: one table for each `limits.rs`, one row for each public constant.
pub fn limits(project: &Project) -> Result<String> {
    let mut page = String::from(
        "# Limits\n\nEverything that a client can make long, deep or many is bounded. This page is \
         written by\n`cargo xtask codegen` from the constants in each crate's `limits.rs`; change \
         them there.\n",
    );
    for path in sources::rust_files(project)? {
        if path.file_name().is_some_and(|name| name == "limits.rs") {
            let text = std::fs::read_to_string(&path)?;
            table(&mut page, project.relative(&path), &text)?;
        }
    }
    Ok(page)
}

fn table(page: &mut String, path: &Path, text: &str) -> Result<()> {
    let mut rows = String::new();
    let mut doc: Vec<&str> = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("///") {
            doc.push(comment.trim());
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let mut declaration = rest.to_owned();
            while !declaration.contains(';') {
                let Some(more) = lines.next() else { break };
                declaration.push(' ');
                declaration.push_str(more);
            }
            let name = declaration.split(':').next().unwrap_or_default();
            let value = declaration.split(" = ").nth(1).unwrap_or_default();
            let value = value.split(';').next().unwrap_or_default().trim();
            writeln!(
                rows,
                "| `{name}` | `{value}` | {} |",
                doc.join(" ").replace('|', "\\|")
            )?;
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    if !rows.is_empty() {
        let head = "| limit | value | meaning |\n|---|---|---|";
        writeln!(page, "\n## {}\n\n{head}", path.display())?;
        page.push_str(&rows);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_public_constant_is_a_row() {
        let text = "//! Limits.\n/// Bytes of a body,\n/// all of it.\n\
                    pub const BODY: usize =\n    3 * 1024;\nconst HIDDEN: u8 = 1;\n";
        let mut page = String::new();
        table(&mut page, Path::new("lib/json/src/limits.rs"), text).unwrap();
        assert!(page.contains("## lib/json/src/limits.rs"));
        assert!(page.contains("| `BODY` | `3 * 1024` | Bytes of a body, all of it. |"));
        assert!(!page.contains("HIDDEN"));
    }
}

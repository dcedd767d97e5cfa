//! Rules that the compiler does not know: arrows between crates, licences, and what may stand in
//! a source file. Run by `cargo xtask tidy` and as the first stage of `cargo xtask test`.
//!
//! Start at [`check`]. Each rule lives in one of the modules below and answers the places where
//! it is broken; all of them are printed, so that one run shows everything.

mod arrows;
mod documents;
mod licences;
mod metadata;
pub mod sources;

use anyhow::{Result, bail};

use crate::codegen;
use crate::project::Project;

/// Checks crate arrows, licences, banned crates, file lengths, forbidden words, links, freshness
///
/// The arrows are read from ARCHITECTURE.md and compared with `cargo metadata`: a new dependency
/// between two crates needs a line there.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(project: &Project, _args: &Args) -> Result<()> {
    println!("{}", check(project)?);
    Ok(())
}

/// Applies every rule; an error that lists each broken one, or a line with what was looked at.
pub fn check(project: &Project) -> Result<String> {
    let metadata = metadata::read(project)?;
    let architecture = std::fs::read_to_string(project.root.join("ARCHITECTURE.md"))?;
    let mut findings = arrows::check(&architecture, &metadata)?;
    findings.extend(licences::check(&metadata));
    let files = sources::rust_files(project)?;
    for path in &files {
        let text = std::fs::read_to_string(path)?;
        findings.extend(sources::check(project.relative(path), &text));
    }
    findings.extend(documents::check(project)?);
    if std::fs::read_to_string(project.root.join(codegen::LIMITS)).unwrap_or_default()
        != codegen::limits(project)?
    {
        findings.push(format!(
            "{} is not fresh: run `cargo xtask codegen`",
            codegen::LIMITS
        ));
    }
    if !findings.is_empty() {
        findings.iter().for_each(|finding| println!("{finding}"));
        bail!("{} things are untidy", findings.len());
    }
    Ok(format!(
        "{} crates, {} files",
        metadata.packages.len(),
        files.len()
    ))
}

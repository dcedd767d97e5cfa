//! Which crate may know which: the block of arrows in ARCHITECTURE.md against `cargo metadata`.
//!
//! The block is fenced and marked `arrows`. Its first line is the chain: groups from left to
//! right, crates of a group between commas; a crate may know what stands further right, and
//! nothing of its own group. Further lines are exceptions:
//! `may: a -> b` allows one arrow more, `never: a, b -> c, d` forbids arrows that the chain would
//! allow, `pure: a, b` names crates that have neither tokio nor the seams among their
//! dependencies. The prefix `hanse-` may be left out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::metadata::{Metadata, Package};

/// What a crate without I/O must not depend on.
const IMPURE: [&str; 3] = ["tokio", "seams", "hyper"];

#[derive(Debug, Default)]
struct Rules {
    rank: BTreeMap<String, usize>,
    may: BTreeSet<(String, String)>,
    never: BTreeSet<(String, String)>,
    pure: BTreeSet<String>,
}

/// The arrows that the rules forbid, and crates that the chain does not name.
pub fn check(architecture: &str, metadata: &Metadata) -> Result<Vec<String>> {
    let rules = parse(architecture)?;
    let mut findings = Vec::new();
    let members: BTreeSet<&str> = metadata.members().map(short).collect();
    for name in rules.rank.keys().filter(|name| !members.contains(&***name)) {
        findings.push(format!(
            "ARCHITECTURE.md: the arrows name {name}, which is no crate"
        ));
    }
    for package in metadata.members() {
        let from = short(package);
        let Some(&rank) = rules.rank.get(from) else {
            findings.push(format!(
                "ARCHITECTURE.md: the arrows do not name the crate {from}"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency
                .name
                .strip_prefix("hanse-")
                .unwrap_or(&dependency.name);
            let arrow = (from.to_owned(), to.to_owned());
            let known = rules.rank.get(to).filter(|_| members.contains(to));
            // A crate's tests may name the crate itself, with other features.
            let chain = to == from || known.is_none_or(|right| *right > rank);
            if !chain && !rules.may.contains(&arrow) {
                findings.push(format!("{from} -> {to}: this arrow points leftwards"));
            }
            if dependency.kind.is_none() && rules.never.contains(&arrow) {
                findings.push(format!("{from} -> {to}: ARCHITECTURE.md says never"));
            }
            if dependency.kind.is_none() && rules.pure.contains(from) && IMPURE.contains(&to) {
                findings.push(format!("{from} -> {to}: {from} does no I/O"));
            }
        }
    }
    Ok(findings)
}

fn short(package: &Package) -> &str {
    package.name.strip_prefix("hanse-").unwrap_or(&package.name)
}

fn bare(name: &str) -> String {
    name.strip_prefix("hanse-").unwrap_or(name).to_owned()
}

fn parse(architecture: &str) -> Result<Rules> {
    let block = architecture
        .split("```arrows\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let block = block.context("ARCHITECTURE.md has no fenced block marked `arrows`")?;
    let mut rules = Rules::default();
    let mut chain = String::new();
    for line in block.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(arrow) = line.strip_prefix("may: ") {
            rules.may.extend(pairs(arrow)?);
        } else if let Some(arrow) = line.strip_prefix("never: ") {
            rules.never.extend(pairs(arrow)?);
        } else if let Some(names) = line.strip_prefix("pure: ") {
            rules.pure.extend(list(names));
        } else {
            chain.push_str(line);
            chain.push(' ');
        }
    }
    for (rank, group) in chain.split("->").enumerate() {
        for name in list(group) {
            if rules.rank.insert(name.clone(), rank).is_some() {
                bail!("ARCHITECTURE.md: the chain of arrows names {name} twice");
            }
        }
    }
    Ok(rules)
}

fn pairs(arrow: &str) -> Result<Vec<(String, String)>> {
    let (from, to) = arrow.split_once("->").context("an arrow without ->")?;
    let to: Vec<String> = list(to).collect();
    Ok(list(from)
        .flat_map(|a| to.iter().map(move |b| (a.clone(), b.clone())))
        .collect())
}

fn list(names: &str) -> impl Iterator<Item = String> + '_ {
    names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(bare)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::of;
    use super::*;

    const CHAIN: &str = "```arrows\nbinary -> api, agent ->\ncache -> json, apis\n\
                         may: apis -> json\nnever: agent -> cache\npure: json\n```\n";

    fn findings(crates: &[(&str, &[&str])]) -> Vec<String> {
        let all = ["binary", "api", "agent", "cache", "json", "apis"];
        let mut crates = crates.to_vec();
        for name in all {
            if crates
                .iter()
                .all(|(known, _)| known.strip_prefix("hanse-") != Some(name))
            {
                crates.push((name, &[]));
            }
        }
        check(CHAIN, &of(&crates)).unwrap()
    }

    #[test]
    fn arrows_point_rightwards() {
        assert!(findings(&[("hanse-api", &["hanse-cache", "serde"])]).is_empty());
        let leftwards = findings(&[("hanse-cache", &["hanse-api"]), ("hanse-api", &[])]);
        assert_eq!(leftwards, ["cache -> api: this arrow points leftwards"]);
    }

    #[test]
    fn a_group_has_no_arrows_but_those_that_may() {
        let inside = findings(&[
            ("hanse-json", &["hanse-apis"]),
            ("hanse-apis", &["hanse-json"]),
        ]);
        assert_eq!(inside, ["json -> apis: this arrow points leftwards"]);
    }

    #[test]
    fn never_and_pure_go_beyond_the_chain() {
        let never = findings(&[("hanse-agent", &["hanse-cache"]), ("hanse-cache", &[])]);
        assert_eq!(never, ["agent -> cache: ARCHITECTURE.md says never"]);
        assert_eq!(
            findings(&[("hanse-json", &["tokio"])]),
            ["json -> tokio: json does no I/O"]
        );
    }

    #[test]
    fn every_crate_has_its_place() {
        let unknown = findings(&[("hanse-new", &[])]);
        assert_eq!(
            unknown,
            ["ARCHITECTURE.md: the arrows do not name the crate new"]
        );
    }
}

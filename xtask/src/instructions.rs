//! Counts the instructions of the hot functions of the pure crates, and compares them with what is
//! written down: a gate that no busy machine can disturb.
//!
//! Start at [`check`], which `cargo xtask test` runs. Callgrind (of valgrind) runs
//! `e2e/instructions`, which does each function once on a fixed input. Only instructions of our
//! own program are counted: what the C library does in `malloc` and `memcpy` depends on the
//! machine. That would hide allocations, so calls of the allocator are counted beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::stage;

/// The program whose functions are counted.
const PROGRAM: &str = "hanse-instructions";
/// The profile of the root manifest that exists for this.
const PROFILE: &str = "count";
/// The function within which callgrind counts.
const COUNTED: &str = "hanse_instructions::counted";
/// By how much a count may exceed what is written down.
const TOLERANCE: f64 = 0.03;
/// Set to `required` where a missing valgrind is an error, as on a machine that only tests.
const VALGRIND: &str = "HANSE_VALGRIND";
/// What the C library offers for allocating.
const ALLOCATORS: [&str; 3] = ["malloc", "calloc", "realloc"];

/// What a function costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cost {
    instructions: u64,
    allocations: u64,
}

type Costs = BTreeMap<String, Cost>;

/// What is written down.
#[derive(Serialize, Deserialize)]
struct Expected {
    /// The machine whose instructions these are: others have others.
    target: String,
    functions: Costs,
}

/// What a comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    /// What fails the gate.
    worse: Vec<String>,
    /// What became cheaper by more than the tolerance.
    better: Vec<String>,
}

/// `cargo xtask bench instructions`: prints every count, and compares or accepts.
pub fn run(project: &Project, accept: bool) -> Result<()> {
    if let Some(reason) = unavailable()? {
        bail!("{reason}");
    }
    let costs = count(project)?;
    let file = file(project);
    let expected = read(&file).unwrap_or(Expected {
        target: target(),
        functions: Costs::new(),
    });
    println!(
        "{:<36} {:>12} {:>9}  {:>11}",
        "function", "instructions", "expected", "allocations"
    );
    for (name, cost) in &costs {
        let before = expected.functions.get(name);
        let told = before.map_or("new".to_owned(), |before| before.instructions.to_string());
        let change = before.map_or(String::new(), |before| {
            let ratio = cost.instructions as f64 / before.instructions.max(1) as f64;
            format!("{:+.1} %", (ratio - 1.0) * 100.0)
        });
        let (instructions, allocations) = (cost.instructions, cost.allocations);
        println!("{name:<36} {instructions:>12} {told:>9}  {allocations:>11}  {change}");
    }
    if accept {
        let accepted = Expected {
            target: target(),
            functions: costs,
        };
        std::fs::write(&file, serde_json::to_string_pretty(&accepted)? + "\n")?;
        println!("written down in {}", project.relative(&file).display());
        return Ok(());
    }
    conclude(&compare(&expected.functions, &costs)).map(|words| println!("{words}"))
}

/// The gate: the words for the line of the stage, or an error that names what became dearer.
pub fn check(project: &Project) -> Result<String> {
    if let Some(reason) = unavailable()? {
        return Ok(format!("skipped: {reason}"));
    }
    let expected = read(&file(project))?;
    if expected.target != target() {
        let (there, here) = (&expected.target, target());
        return Ok(format!(
            "skipped: the counts are those of {there}, this is {here}"
        ));
    }
    conclude(&compare(&expected.functions, &count(project)?))
}

fn conclude(findings: &Findings) -> Result<String> {
    if !findings.worse.is_empty() {
        bail!(
            "{}\nIf that is what a feature costs: `cargo xtask bench instructions --accept`, and \
             say in the commit what it buys.",
            findings.worse.join("\n")
        );
    }
    Ok(match findings.better.len() {
        0 => "as expected".to_owned(),
        _ => format!(
            "cheaper than expected: {} (keep it: `cargo xtask bench instructions --accept`)",
            findings.better.join("; ")
        ),
    })
}

/// Why nothing can be counted here, if so.
fn unavailable() -> Result<Option<String>> {
    let output = Command::new("valgrind").arg("--version").output();
    if output.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let reason = "`valgrind` is not installed (a package of that name in most systems)";
    if std::env::var_os(VALGRIND).is_some_and(|value| value == "required") {
        bail!("{reason}, and {VALGRIND} says that it is required");
    }
    Ok(Some(reason.to_owned()))
}

fn file(project: &Project) -> PathBuf {
    project.root.join("e2e/instructions/expected.json")
}

fn read(file: &Path) -> Result<Expected> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Builds the program, runs it under callgrind, and reads what that wrote.
fn count(project: &Project) -> Result<Costs> {
    let state = project.state("instructions")?;
    let mut build = project.cargo(["build", "--profile", PROFILE, "--package", PROGRAM]);
    stage::quietly(
        "building the hot functions",
        &mut build,
        &state.join("build.log"),
    )?;
    let program = project.target.join(PROFILE).join(PROGRAM);
    let parts = state.join("parts");
    if parts.exists() {
        std::fs::remove_dir_all(&parts)?;
    }
    std::fs::create_dir_all(&parts)?;
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .args([
            "--collect-atstart=no",
            &format!("--toggle-collect={COUNTED}"),
        ])
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!(
            "--callgrind-out-file={}",
            parts.join("out").display()
        ))
        .arg(&program)
        .output()
        .context("cannot start valgrind")?;
    if !output.status.success() {
        bail!(
            "{PROGRAM} under callgrind: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let names = String::from_utf8(output.stdout)?;
    let mut costs = Costs::new();
    for (index, name) in names.lines().enumerate() {
        // Of the two times that a function is done, the second.
        let part = parts.join(format!("out.{}", 2 * (index + 1)));
        let text = std::fs::read_to_string(&part).with_context(|| part.display().to_string())?;
        let cost = cost_of(&text);
        if cost.instructions == 0 {
            bail!("{name}: {} counts nothing", part.display());
        }
        costs.insert(name.to_owned(), cost);
    }
    Ok(costs)
}

/// Sums up a file of callgrind's: the own instructions of the program's functions, and their calls
/// of the allocator. Its format is lines of `key=value`, and lines of a position and a cost; the
/// cost after a `calls=` is that of the called function, which is counted elsewhere.
fn cost_of(text: &str) -> Cost {
    let mut cost = Cost::default();
    let (mut own, mut called, mut skip) = (false, "", false);
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "ob" => own = value.ends_with(PROGRAM),
                "cfn" => called = value,
                "calls" => {
                    skip = true;
                    let count = value.split(' ').next().and_then(|n| n.parse::<u64>().ok());
                    if own && ALLOCATORS.contains(&called) {
                        cost.allocations += count.unwrap_or(0);
                    }
                }
                _ => {}
            }
            continue;
        }
        let mut words = line.split(' ');
        let position = words.next().is_some_and(|word| word.parse::<u64>().is_ok());
        let instructions = words.next().and_then(|word| word.parse::<u64>().ok());
        if let (true, Some(instructions)) = (position, instructions) {
            if own && !skip {
                cost.instructions += instructions;
            }
            skip = false;
        }
    }
    cost
}

fn compare(expected: &Costs, found: &Costs) -> Findings {
    let mut findings = Findings::default();
    for (name, cost) in found {
        let Some(before) = expected.get(name) else {
            findings
                .worse
                .push(format!("{name}: no count is written down"));
            continue;
        };
        let numbers = [
            ("instructions", before.instructions, cost.instructions),
            ("allocations", before.allocations, cost.allocations),
        ];
        for (what, before, now) in numbers {
            let change = (now as f64 - before as f64) / before.max(1) as f64;
            let words = format!("{name}: {now} {what}, expected {before}");
            if change > TOLERANCE {
                findings
                    .worse
                    .push(format!("{words} ({:+.1} %)", change * 100.0));
            } else if change < -TOLERANCE {
                findings
                    .better
                    .push(format!("{words} ({:+.1} %)", change * 100.0));
            }
        }
    }
    for name in expected.keys().filter(|name| !found.contains_key(*name)) {
        findings
            .worse
            .push(format!("{name}: is written down and no longer counted"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: &str = "\
version: 1
events: Ir
ob=/t/hanse-instructions
fl=a.rs
fn=parse
12 100
+0 7
cob=/lib/libc.so.6
cfi=malloc.c
cfn=malloc
calls=3 0
12 900
13 20
ob=/lib/libc.so.6
fn=malloc
0 900
";

    #[test]
    fn only_our_own_instructions_count_and_allocations_beside_them() {
        let cost = cost_of(PART);
        assert_eq!(
            cost,
            Cost {
                instructions: 127,
                allocations: 3
            }
        );
    }

    fn costs(instructions: u64, allocations: u64) -> Costs {
        let cost = Cost {
            instructions,
            allocations,
        };
        Costs::from([("json/parse".to_owned(), cost)])
    }

    #[test]
    fn more_than_the_tolerance_fails_and_says_how_to_accept() {
        let before = costs(1_000, 10);
        assert_eq!(compare(&before, &costs(1_030, 10)), Findings::default());
        let worse = compare(&before, &costs(1_040, 10));
        let error = conclude(&worse).unwrap_err().to_string();
        assert!(
            error.contains("1040 instructions, expected 1000 (+4.0 %)"),
            "{error}"
        );
        assert!(error.contains("instructions --accept"), "{error}");
        assert_eq!(compare(&before, &costs(1_000, 11)).worse.len(), 1);
    }

    #[test]
    fn less_passes_and_is_told() {
        let findings = compare(&costs(1_000, 10), &costs(900, 10));
        assert!(findings.worse.is_empty());
        assert!(conclude(&findings).unwrap().contains("cheaper"));
    }

    #[test]
    fn a_function_that_comes_or_goes_has_to_be_accepted() {
        assert_eq!(compare(&Costs::new(), &costs(1, 1)).worse.len(), 1);
        assert_eq!(compare(&costs(1, 1), &Costs::new()).worse.len(), 1);
    }
}

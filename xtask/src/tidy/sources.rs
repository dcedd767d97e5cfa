//! What may stand in a Rust file: length, width, a header, and words that must not appear.
//!
//! Start at [`check`], which is pure text in, findings out. What the compiler and clippy already
//! refuse (unwrap, panic, unsafe) is only watched here for being allowed again.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::project::Project;

/// Lines of a file.
const LINES_MAX: usize = 800;
/// Characters of a line.
const CHARS_MAX: usize = 100;

/// Words that stand nowhere, tests included. Split, so that this file does not hold them.
const NOWHERE: [(&str, &str); 8] = [
    (concat!("todo", "!("), "finish it or leave it out"),
    (concat!("unimplemented", "!("), "finish it or leave it out"),
    (concat!("dbg", "!("), "a forgotten debug mark"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/tmp/", "hanse"), "a path of one machine"),
    (concat!("/home", "/"), "a path of one machine"),
    (concat!("../", "shared"), "a path of one machine"),
    (
        concat!("#[", "ignore"),
        "a test that is not run proves nothing",
    ),
];

/// Words that stand only in tests, or with a reason beside them (a constant at start-up).
const TESTS_ONLY: [(&str, &str); 4] = [
    (
        concat!("allow(clippy::", "unwrap_used"),
        "unwrap is for tests",
    ),
    (
        concat!("allow(clippy::", "expect_used"),
        "expect is for tests",
    ),
    (concat!("allow(clippy::", "panic"), "panic is for tests"),
    (concat!("allow(", "unsafe_code"), "no unsafe code"),
];

/// Words that only `lib/seams` and the programs outside the product (tests, xtask) may use: the
/// simulation has to see every clock and every task.
const SEAMS_ONLY: [&str; 6] = [
    concat!("tokio::", "spawn("),
    concat!("std::", "thread::spawn"),
    concat!("thread::", "Builder"),
    concat!("Instant::", "now()"),
    concat!("SystemTime::", "now()"),
    concat!("spawn_", "blocking("),
];

/// The names of our API groups and kcp's, which nothing in `lib/` may know.
const PRODUCT: [&str; 2] = [concat!(".hanse", ".dev"), concat!(".kcp", ".io")];

/// Every Rust file of the checkout that is tracked or would be, sorted.
pub fn rust_files(project: &Project) -> Result<Vec<PathBuf>> {
    files(project, "*.rs")
}

/// The files of the checkout that match a pattern, those that git ignores left out.
pub fn files(project: &Project, pattern: &str) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
            "--",
            pattern,
        ])
        .current_dir(&project.root)
        .output()?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files: Vec<PathBuf> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(|name| project.root.join(name))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// The rules that a file breaks, with the line.
pub fn check(path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |line: usize, what: &str| {
        findings.push(format!("{}:{line}: {what}", path.display()));
    };
    let lines = text.lines().count();
    if lines > LINES_MAX {
        find(lines, &format!("{lines} lines, at most {LINES_MAX}"));
    }
    let header = text
        .lines()
        .find(|line| !line.is_empty() && !line.starts_with("#!"));
    if !header.is_some_and(|line| line.starts_with("//!")) {
        find(1, "no header that says what this file is for (`//!`)");
    }
    for number in documented_code(text) {
        find(
            number,
            "code in documentation is not run here: write a test, or mark it `text`",
        );
    }
    let place = Place::of(path);
    let mut in_tests = place.tests;
    for (number, line) in text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
    {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let width = line.chars().count();
        // A table's text is one line where splitting it would hide what is being compared.
        let exempt = in_tests || line.trim_start().starts_with('"') || line.contains("https://");
        if width > CHARS_MAX && !exempt {
            find(number, &format!("{width} characters, at most {CHARS_MAX}"));
        }
        for (word, why) in NOWHERE {
            if line.contains(word) {
                find(number, &format!("{word}: {why}"));
            }
        }
        if in_tests || line.trim_start().starts_with("//") {
            continue;
        }
        let reasoned = line.contains("//") || line.contains("reason");
        for (word, why) in TESTS_ONLY {
            if line.contains(word) && !reasoned {
                find(
                    number,
                    &format!("{word}: {why}; else state the reason in the same line"),
                );
            }
        }
        for word in SEAMS_ONLY
            .into_iter()
            .filter(|word| !place.own_time && line.contains(word))
        {
            find(number, &format!("{word}: go through hanse-seams"));
        }
        for word in PRODUCT
            .into_iter()
            .filter(|word| place.library && line.contains(word))
        {
            find(
                number,
                &format!("{word}: nothing in lib/ knows the product's groups"),
            );
        }
    }
    findings
}

/// The lines at which a block of code in documentation begins that rustdoc would run as a test.
fn documented_code(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let words = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        let Some(fence) = words.and_then(|words| words.trim_start().strip_prefix("```")) else {
            continue;
        };
        let run = ["", "rust", "no_run", "should_panic"];
        if !open && run.contains(&fence.split(',').next().unwrap_or_default().trim()) {
            found.push(index + 1);
        }
        open = !open;
    }
    found
}

/// What a file is, by where it lies.
struct Place {
    /// All of it is test code.
    tests: bool,
    /// It may look at the clock and start tasks and threads itself.
    own_time: bool,
    /// It is a library that knows nothing of the product.
    library: bool,
}

impl Place {
    fn of(path: &Path) -> Place {
        let has = |name: &str| path.components().any(|part| part.as_os_str() == name);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let outside = ["e2e", "xtask", "cli", "examples", "lib/seams"];
        Place {
            tests: has("tests") || has("benches") || name == "tests.rs" || name == "testing.rs",
            own_time: outside.iter().any(|dir| path.starts_with(dir)),
            library: path.starts_with("lib"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text)
    }

    #[test]
    fn a_file_has_a_header_and_a_bounded_length() {
        assert!(findings("lib/json/src/a.rs", "//! Why.\nfn a() {}\n").is_empty());
        assert_eq!(findings("lib/json/src/a.rs", "fn a() {}\n").len(), 1);
        let long = format!("//! Why.\n{}", "\n".repeat(LINES_MAX));
        assert!(findings("lib/json/src/a.rs", &long)[0].contains("801 lines"));
    }

    #[test]
    fn documentation_holds_no_tests() {
        let text = "//! Why.\n//! ```text\n//! a\n//! ```\n/// ```\n/// f();\n/// ```\nfn f() {}\n";
        assert_eq!(documented_code(text), [5]);
        assert_eq!(findings("lib/json/src/a.rs", text).len(), 1);
    }

    #[test]
    fn words_are_found_where_they_must_not_stand() {
        let clock = format!("//! Why.\nlet t = {};\n", SEAMS_ONLY[3]);
        assert_eq!(findings("server/api/src/a.rs", &clock).len(), 1);
        assert!(findings("lib/seams/src/a.rs", &clock).is_empty());
        let in_test = format!(
            "//! Why.\n#[cfg(test)]\nmod tests {{ {} }}\n",
            SEAMS_ONLY[3]
        );
        assert!(findings("server/api/src/a.rs", &in_test).is_empty());
        let unfinished = format!("//! Why.\n#[cfg(test)]\n{})\n", NOWHERE[0].0);
        assert_eq!(findings("server/api/src/a.rs", &unfinished).len(), 1);
        let group = format!("//! Why.\nconst A: &str = \"apis{}\";\n", PRODUCT[1]);
        assert_eq!(findings("lib/wire/src/a.rs", &group).len(), 1);
        assert!(findings("server/kinds/src/a.rs", &group).is_empty());
    }
}

//! Set-up: checks for Rust and Go, and builds what the tests run and compare with.
//!
//! The programs of `e2e/tools.json` and the third-party APIs of `e2e/crds/crds.json` go to the
//! cache outside the source tree and stay there; the
//! Go programs of ours under `e2e/oracles` and `e2e/clients` go to the target directory and are as
//! fresh as Go's own build cache makes them. Nothing but packages of ordinary registries is
//! downloaded, by `go build`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::project::Project;
use crate::stage;
use crate::tools::{self, Crds, Tool};

/// Directories under `e2e` with Go programs of ours, what one is called, and how the variables
/// begin that name them.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("oracles", "oracle", "HANSE_ORACLE_"),
    ("clients", "client", "HANSE_CLIENT_"),
];

/// The oldest Go that builds the modules under `e2e/`.
const GO_MINOR_MIN: u32 = 26;

/// Builds the real Kubernetes programs, the oracles and the clients, and prints where they lie
///
/// What is found is not built: a set of programs counts where all of its commands lie together,
/// in the right version, in `KUBEBUILDER_ASSETS`, in the cache, or in a directory of `PATH`. The
/// cache is `~/.cache/hanse` (`XDG_CACHE_HOME` and `HANSE_CACHE` move it) and can be deleted at
/// any time. A first build takes about ten minutes on two cores and 3 GiB of Go's own caches.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only these sets (see `--list`); all of them when none is named.
    sets: Vec<String>,
    /// Print the sets and where each was found, and build nothing.
    #[arg(long)]
    list: bool,
}

/// What the tests need from the environment: the programs' paths by variable.
pub struct Ready {
    /// `HANSE_ORACLE_CEL`, `HANSE_CLIENT_CLIENT_GO` and their kind, with what each names.
    pub variables: Vec<(String, PathBuf)>,
}

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let known = tools::all();
    if let Some(unknown) = args
        .sets
        .iter()
        .find(|set| known.iter().all(|tool| tool.set != **set))
    {
        let names: Vec<&str> = known.iter().map(|tool| &*tool.set).collect();
        bail!("there is no set {unknown}; there are {}", names.join(", "));
    }
    let chosen = |tool: &&Tool| args.sets.is_empty() || args.sets.contains(&tool.set);
    if !args.list {
        let version = check_prerequisites()?;
        println!("found {version}");
    }
    for tool in known.iter().filter(chosen) {
        match (tool.find(), args.list) {
            (Some(dir), _) => println!("{:<14} {}", tool.set, dir.display()),
            (None, true) => println!("{:<14} not there yet (builds {})", tool.set, tool.version),
            (None, false) => println!("{:<14} {}", tool.set, build(project, tool)?.display()),
        }
    }
    if args.sets.is_empty() && !args.list {
        for crds in tools::crds() {
            let dir = third_party(project, &crds)?;
            println!("{:<14} {}", crds.name, dir.display());
        }
        for (variable, path) in programs(project)?.variables {
            println!("{variable:<32} {}", path.display());
        }
    }
    Ok(())
}

/// Everything that `cargo xtask test` needs, with as little output as possible.
pub fn ensure(project: &Project, optional: bool) -> Result<Ready> {
    check_prerequisites()?;
    for tool in tools::all() {
        // Older kubectls only widen a test that runs with whatever minors are there.
        let needed = optional || !tool.set.starts_with("kubectl-");
        if needed && tool.find().is_none() {
            build(project, &tool)?;
        }
    }
    third_parties(project)?;
    programs(project)
}

/// Says how to get Go when it is missing or too old; answers what `go version` prints. Rust needs
/// no check of its own: it runs us, and `rust-toolchain.toml` names the version.
fn check_prerequisites() -> Result<String> {
    let advice = format!(
        "Go 1.{GO_MINOR_MIN} or newer is needed to build the programs that Hanse is tested \
         against.\nGet it from https://go.dev/dl/ or from your system's packages, and make sure \
         that `go` is in PATH."
    );
    let output = Command::new("go").arg("version").output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        bail!("`go` was not found. {advice}");
    };
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let minor = text.split("go1.").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    if minor.is_none_or(|minor| minor < GO_MINOR_MIN) {
        bail!("found `{text}`. {advice}");
    }
    Ok(text)
}

/// What physical clusters are started from, and nothing else: for the demo and the examples. Go is
/// asked for only where something has to be made.
pub fn clusters(project: &Project) -> Result<()> {
    for set in ["etcd", "kubernetes", "kwok"] {
        let tool = tools::named(set).with_context(|| format!("there is no set {set}"))?;
        if tool.find().is_none() {
            check_prerequisites()?;
            build(project, &tool)?;
        }
    }
    third_parties(project)
}

fn third_parties(project: &Project) -> Result<()> {
    for crds in tools::crds() {
        third_party(project, &crds)?;
    }
    Ok(())
}

/// Copies the CRD files of a Go module into the cache, where they are not there yet.
fn third_party(project: &Project, crds: &Crds) -> Result<PathBuf> {
    let out = crds.built();
    if out.is_dir() {
        return Ok(out);
    }
    check_prerequisites()?;
    let mut command = Command::new("go");
    command
        .args(["mod", "download", "-json", &crds.module])
        .env("GOWORK", "off")
        .current_dir(project.root.join("e2e/crds"));
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {why}", crds.module);
    }
    let module: Downloaded = serde_json::from_slice(&output.stdout)?;
    if module.version != format!("v{}", crds.version) {
        let (name, found, wanted) = (&crds.module, &module.version, &crds.version);
        bail!("e2e/crds/go.mod names {name} {found}, crds.json {wanted}");
    }
    let unfinished = out.with_extension(format!("unfinished-{}", std::process::id()));
    std::fs::create_dir_all(&unfinished)?;
    for entry in std::fs::read_dir(module.dir.join(&crds.directory))? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|e| e == "yaml");
        let Some(name) = path.file_name().filter(|_| is_yaml) else {
            continue;
        };
        let text = std::fs::read_to_string(&path)?;
        if text.contains("kind: CustomResourceDefinition") {
            std::fs::write(unfinished.join(name), text)?;
        }
    }
    std::fs::rename(&unfinished, &out)?;
    Ok(out)
}

/// What `go mod download -json` says of a module.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    version: String,
    dir: PathBuf,
}

/// Builds a set into the cache. An unfinished build is never taken for a finished one: the
/// directory gets its name when everything is in it.
fn build(project: &Project, tool: &Tool) -> Result<PathBuf> {
    let (out, module) = (tool.built(), project.root.join(&tool.module));
    let unfinished = out.with_extension(format!("unfinished-{}", std::process::id()));
    std::fs::create_dir_all(&unfinished)
        .with_context(|| format!("cannot make {}", unfinished.display()))?;
    let mut command = go_build(&module, &ld_flags(tool), &unfinished);
    command.args(&tool.packages);
    let log = project.state("setup")?.join(format!("{}.log", tool.set));
    stage::quietly(
        &format!("building {} {}", tool.set, tool.version),
        &mut command,
        &log,
    )?;
    for name in &tool.commands {
        if !unfinished.join(name).is_file() {
            bail!("building {} did not make {name}", tool.set);
        }
    }
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    std::fs::rename(&unfinished, &out)?;
    Ok(out)
}

/// Go's linker flags: no debug information, and the version where the program looks for it.
fn ld_flags(tool: &Tool) -> String {
    let mut flags = String::from("-s -w");
    let mut set = |variable: &str, value: &str| flags.push_str(&format!(" -X {variable}={value}"));
    let mut numbers = tool.version.split('.');
    let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    for package in &tool.stamp {
        set(
            &format!("{package}.gitVersion"),
            &format!("v{}", tool.version),
        );
        set(&format!("{package}.gitMajor"), major);
        set(&format!("{package}.gitMinor"), minor);
        set(&format!("{package}.gitTreeState"), "clean");
    }
    if let Some(variable) = &tool.stamp_variable {
        set(variable, &format!("v{}", tool.version));
    }
    flags
}

fn go_build(module: &Path, ld_flags: &str, out: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off");
    command.args([
        "build",
        "-v",
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
    ]);
    command.args(["-ldflags", ld_flags, "-o"]).arg(out.join(""));
    command
}

/// Builds the Go programs of which each directory below holds one, by its `go.mod`; tests find a
/// program by a variable that ends in its name.
pub fn programs(project: &Project) -> Result<Ready> {
    let mut variables = Vec::new();
    for (directory, noun, variable) in PROGRAMS {
        for name in program_names(project, directory)? {
            let module = project.root.join("e2e").join(directory).join(&name);
            let out = project.state(directory)?.join(&name);
            let program = build_program(project, &module, &out, &format!("{noun} {name}"))?;
            let name = name.to_uppercase().replace('-', "_");
            variables.push((format!("{variable}{name}"), program));
        }
    }
    Ok(Ready { variables })
}

/// Builds one program, which is as fresh as Go's own build cache makes it.
fn build_program(project: &Project, module: &Path, out: &Path, what: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(out)?;
    let mut command = go_build(module, "-s -w", out);
    command.arg(".");
    let log = format!("{}.log", what.replace(' ', "-"));
    let log = project.state("setup")?.join(log);
    stage::quietly(&format!("building the {what}"), &mut command, &log)?;
    let mut programs: Vec<PathBuf> = std::fs::read_dir(out)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    programs.sort();
    match <[PathBuf; 1]>::try_from(programs) {
        Ok([program]) => Ok(program),
        Err(all) => bail!("{} holds {} programs", out.display(), all.len()),
    }
}

/// The directories under `e2e/<directory>` that hold a Go module, sorted.
fn program_names(project: &Project, directory: &str) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(project.root.join("e2e").join(directory)) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join("go.mod").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_stamped_where_each_program_looks() {
        let kubernetes = ld_flags(&tools::named("kubernetes").unwrap());
        assert!(kubernetes.contains("-X k8s.io/component-base/version.gitMinor=35"));
        let kwok = ld_flags(&tools::named("kwok").unwrap());
        assert!(kwok.ends_with("-X sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0"));
        assert_eq!(ld_flags(&tools::named("etcd").unwrap()), "-s -w");
    }
}

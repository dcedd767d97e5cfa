//! The examples under `examples/`, run from the very words of their READMEs.
//!
//! Start at [`Ground::run`]. An example is a directory with a `README.md`. Its ```` ```sh ````
//! blocks are run in order in one shell, in a copy of the directory; a ```` ```text ```` block
//! behind one is what it prints: line by line, blanks folded, `...` standing for anything within a
//! line, and for any lines where it stands alone. `sh fails` is a block that ends with an error.
//! Where the README says `edge-berlin.kubeconfig` and `dc-frankfurt.kubeconfig`, two real clusters
//! are there under these names; where not, a hub is all that runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::demo::{BERLIN, FRANKFURT, install};
use crate::hub::{Hub, program};
use crate::process::Process;
use crate::site::Site;
use crate::{tools, wait};

/// How long one block may take on a machine that is busy.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(180);
/// What the shell prints around each block.
const MARK: &str = "--- block";

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of the README at which it starts.
    pub line: usize,
    pub commands: String,
    /// It ends with an error.
    pub fails: bool,
    /// What it prints, when the README says so.
    pub prints: Option<String>,
}

/// An example.
pub struct Example {
    /// The name of its directory.
    pub name: String,
    dir: PathBuf,
    readme: String,
}

impl Example {
    /// All of them, by name.
    pub fn all() -> Result<Vec<Example>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&root).context("examples/")? {
            let dir = entry?.path();
            if !dir.is_dir() {
                continue;
            }
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let file = dir.join("README.md");
            let readme = std::fs::read_to_string(&file)
                .with_context(|| format!("{} is not there", file.display()))?;
            all.push(Example {
                name: name.into_owned(),
                dir,
                readme,
            });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The one of this name.
    pub fn named(name: &str) -> Result<Example> {
        let (mut all, mut names) = (Example::all()?, Vec::new());
        if let Some(at) = all.iter().position(|example| example.name == name) {
            return Ok(all.swap_remove(at));
        }
        names.extend(all.iter().map(|example| example.name.as_str()));
        bail!(
            "there is no example {name:?}; there are {}",
            names.join(", ")
        )
    }

    /// Its first sentence.
    pub fn title(&self) -> &str {
        self.readme
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ")
    }

    /// Whether it needs the two clusters.
    pub fn needs_sites(&self) -> bool {
        [BERLIN, FRANKFURT]
            .iter()
            .any(|site| self.readme.contains(&file(site)))
    }
}

fn file(site: &str) -> String {
    format!("{site}.kubeconfig")
}

/// The blocks of a README, in order.
pub fn blocks(readme: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = readme.lines().enumerate();
    // Something other than blank lines stands behind the last block of commands.
    let mut apart = true;
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            apart |= !line.trim().is_empty();
            continue;
        };
        let mut text = String::new();
        loop {
            let (_, line) = lines
                .next()
                .with_context(|| format!("line {}: the block has no end", number + 1))?;
            if line.trim() == "```" {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        let last = blocks.last_mut().filter(|_| !apart);
        match (info.trim(), last) {
            ("sh" | "sh fails", _) => blocks.push(Block {
                line: number + 1,
                commands: text,
                fails: info.trim() == "sh fails",
                prints: None,
            }),
            ("text", Some(block)) if block.prints.is_none() => block.prints = Some(text),
            _ => {}
        }
        apart = info.trim() != "sh" && info.trim() != "sh fails";
    }
    Ok(blocks)
}

/// What is not as the README says, if anything.
fn misses(expected: &str, printed: &str) -> Option<String> {
    let fold = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (expected, printed): (Vec<_>, Vec<_>) = (
        expected.lines().map(fold).collect(),
        printed
            .lines()
            .map(fold)
            .filter(|line| !line.is_empty())
            .collect(),
    );
    let mut rest = printed.as_slice();
    let mut any = false;
    for wanted in expected.iter().filter(|line| !line.is_empty()) {
        if wanted == "..." {
            any = true;
            continue;
        }
        let reach = if any { rest.len() } else { rest.len().min(1) };
        let Some(at) = rest[..reach].iter().position(|line| fits(wanted, line)) else {
            let instead = rest.first().map_or("nothing", String::as_str);
            return Some(format!("expected {wanted:?}, got {instead:?}"));
        };
        rest = &rest[at + 1..];
        any = false;
    }
    match rest.first() {
        Some(line) if !any => Some(format!("did not expect {line:?}")),
        _ => None,
    }
}

/// Whether a line is as wanted, where `...` stands for anything.
fn fits(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// What examples stand on: the physical clusters, started when the first one needs them.
#[derive(Default)]
pub struct Ground {
    clusters: BTreeMap<String, Site>,
}

/// One example's hub, directory and environment. Dropping it ends and removes all of them.
pub struct Room {
    hub: Hub,
    dir: PathBuf,
    bin: PathBuf,
}

impl Ground {
    /// Makes everything that an example needs.
    pub async fn room(&mut self, example: &Example) -> Result<Room> {
        let hub = Hub::start().await?;
        let dir = hub.scratch().join(&example.name);
        let bin = hub.scratch().join("bin");
        copy(&example.dir, &dir)?;
        std::fs::create_dir_all(&bin)?;
        for (variable, names) in [
            ("HANSE_BIN", &["hanse"][..]),
            ("HANSE_SYNCER_BIN", &["hanse-syncer"]),
            ("KUBECTL_HANSE_BIN", &["kubectl-hanse", "kubectl-ws"]),
        ] {
            for name in names {
                let path = program(variable, names[0])?.with_file_name(name);
                link(&path, &bin.join(name))?;
            }
        }
        let kubernetes = tools::named("kubernetes").context("there is no set kubernetes")?;
        let kubectl = kubernetes
            .command("kubectl")
            .map_err(|advice| anyhow!(advice))?;
        link(&kubectl, &bin.join("kubectl"))?;
        std::fs::copy(hub.kubeconfig(), dir.join("hub.kubeconfig"))?;
        if example.needs_sites() {
            for site in [BERLIN, FRANKFURT] {
                let kubeconfig = self.cluster(site).await?;
                std::fs::copy(kubeconfig, dir.join(file(site)))?;
            }
        }
        Ok(Room { hub, dir, bin })
    }

    async fn cluster(&mut self, name: &str) -> Result<PathBuf> {
        if !self.clusters.contains_key(name) {
            let cluster = Site::start(name, 2).await?;
            install(&cluster.kubeconfig()).await?;
            self.clusters.insert(name.to_owned(), cluster);
        }
        Ok(self.clusters[name].kubeconfig())
    }

    /// Runs an example; `tell` hears of each block with what it printed.
    ///
    /// # Errors
    /// The first block that does not come to what its README says.
    pub async fn run(&mut self, example: &Example, tell: impl Fn(&Block, &str)) -> Result<()> {
        let blocks = blocks(&example.readme)?;
        ensure!(!blocks.is_empty(), "the README has no block of commands");
        let room = self.room(example).await?;
        let (script, log) = (
            room.hub.scratch().join("script"),
            room.hub.scratch().join("log"),
        );
        std::fs::write(&script, text(&blocks))?;
        let mut command = room.command("sh");
        let mut shell = Process::start("the shell", command.arg(&script), &log)?;
        for (number, block) in blocks.iter().enumerate() {
            let printed = printed(&mut shell, &log, number)
                .await
                .with_context(|| format!("README.md line {}:\n{}", block.line, block.commands))?;
            tell(block, &printed);
            if let Some(what) = block.prints.as_ref().and_then(|e| misses(e, &printed)) {
                bail!(
                    "README.md line {}: {what}; it printed\n{printed}",
                    block.line
                );
            }
        }
        Ok(())
    }
}

impl Room {
    /// A program that runs where a reader of the example stands.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.bin.clone()]
            .into_iter()
            .chain(std::env::split_paths(&path));
        command
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap_or_default())
            .env("HOME", self.hub.scratch())
            .env("KUBECONFIG", self.dir.join("hub.kubeconfig"));
        if let Some(terminal) = std::env::var_os("TERM") {
            command.env("TERM", terminal);
        }
        command
    }
}

/// One shell script of all blocks. It stays at its end as long as something in the background
/// runs, so that ending its process group ends that, too.
fn text(blocks: &[Block]) -> String {
    let mut text = String::new();
    for (number, block) in blocks.iter().enumerate() {
        let (commands, line) = (&block.commands, block.line);
        text.push_str(&match block.fails {
            false => format!("set -e\n{commands}set +e\n"),
            true => {
                format!("( set -e\n{commands}) && {{ echo 'line {line} did not fail'; exit 1; }}\n")
            }
        });
        text.push_str(&format!("echo '{MARK} {number}'\n"));
    }
    text.push_str("wait\n");
    text
}

/// What a block printed, once it has come to its end.
async fn printed(shell: &mut Process, log: &Path, number: usize) -> Result<String> {
    let end = format!("{MARK} {number}\n");
    wait::until("its end", BLOCK_TIME_MAX, async || {
        let running = shell.check_running();
        let text = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
        if let Some((before, _)) = text.split_once(&end) {
            let start = before
                .rfind(MARK)
                .and_then(|at| Some(at + before[at..].find('\n')? + 1));
            return Ok(before[start.unwrap_or(0)..].to_owned());
        }
        running?;
        Err(anyhow!("{}", crate::process::tail(log)))
    })
    .await
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        std::fs::copy(&path, to.join(name)).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

fn link(to: &Path, at: &Path) -> Result<()> {
    let to = std::path::absolute(to)?;
    ensure!(
        to.is_file(),
        "{} is not there: `cargo build --bins` makes it",
        to.display()
    );
    std::os::unix::fs::symlink(&to, at).with_context(|| format!("{}", at.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_what_they_print_are_read_in_pairs() {
        let readme = "# A\n```sh\na\nb\n```\n```text\nc\n```\nWords.\n```text\nno output\n```\n\
                      ```yaml\nx: y\n```\n\n```sh fails\nd\n```\n\nThen:\n```text\ne\n```\n";
        let blocks = blocks(readme).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].line, blocks[0].commands.as_str()), (2, "a\nb\n"));
        assert_eq!(blocks[0].prints.as_deref(), Some("c\n"));
        assert!(blocks[1].fails && blocks[1].prints.is_none());
        assert!(super::blocks("```sh\na\n").is_err());
    }

    #[test]
    fn dots_stand_for_anything_and_nothing_else_is_left_out() {
        let printed = "NAME     AGE\nweb      3s\n\nlast line\n";
        assert_eq!(misses("NAME AGE\nweb ...\nlast line", printed), None);
        assert_eq!(misses("...\nlast ...ne", printed), None);
        assert_eq!(misses("NAME AGE\n...", printed), None);
        assert!(
            misses("NAME AGE", printed)
                .unwrap()
                .contains("did not expect")
        );
        assert!(
            misses("web ...", printed)
                .unwrap()
                .contains("got \"NAME AGE\"")
        );
        assert!(misses("...\nabsent", printed).is_some());
        assert!(fits("a...b...c", "a 1 b 2 c") && !fits("a...b", "a b c"));
    }
}

//! `kubectl ws tree --interactive`: walks through the tree with keys.
//!
//! Start at [`State::press`]: what a key does, as a pure function; [`run`] is the terminal around
//! it. Invariant: the terminal is put back as it was, however the walk ends.

use std::io::{IsTerminal as _, Read as _, Write as _};

use anyhow::{Result, bail};
use hanse_client::{List, Resource};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::enter::enter;
use crate::session::Session;
use crate::tree::{Node, below, children};

const HELP: &str = "up/down move   right/left open/close   i APIs   Enter go there   q leave";
/// Lines on the screen where the terminal does not say how many it has.
const LINES: usize = 24;
/// The most workspaces that one walk opens.
const ROWS_MAX: usize = 10_000;

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Up,
    Down,
    Open,
    Close,
    Info,
    Go,
    Leave,
}

/// What the terminal has to do after a key.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Draw,
    /// Ask for what is below this row.
    Load(usize),
    /// Ask which APIs this workspace exports and binds.
    Info(String),
    Go(String),
    Leave,
}

struct Row {
    node: Node,
    depth: usize,
    open: bool,
}

/// What is on the screen.
struct State {
    rows: Vec<Row>,
    at: usize,
    info: Vec<String>,
}

impl State {
    fn new(root: Node) -> State {
        let row = Row {
            node: root,
            depth: 0,
            open: false,
        };
        State {
            rows: vec![row],
            at: 0,
            info: Vec::new(),
        }
    }

    fn press(&mut self, key: Key) -> Next {
        self.info.clear();
        let (at, last) = (self.at, self.rows.len() - 1);
        let Row { node, depth, open } = &self.rows[at];
        match key {
            Key::Up => self.at = at.saturating_sub(1),
            Key::Down => self.at = (at + 1).min(last),
            Key::Open if !open && !node.mounted => return Next::Load(at),
            Key::Open => self.at = (at + 1).min(last),
            Key::Close if *open => self.close(at),
            Key::Close => {
                let above = self.rows[..at].iter().rposition(|r| r.depth < *depth);
                self.at = above.unwrap_or(0);
            }
            Key::Info => return Next::Info(node.path.clone()),
            Key::Go => return Next::Go(node.path.clone()),
            Key::Leave => return Next::Leave,
        }
        Next::Draw
    }

    /// Puts the children of a row below it.
    fn open(&mut self, at: usize, children: Vec<Node>) {
        let depth = self.rows[at].depth + 1;
        self.rows[at].open = true;
        let room = ROWS_MAX.saturating_sub(self.rows.len());
        let below = children.into_iter().take(room).map(|node| Row {
            node,
            depth,
            open: false,
        });
        self.rows.splice(at + 1..at + 1, below);
    }

    fn close(&mut self, at: usize) {
        let depth = self.rows[at].depth;
        let below = self.rows[at + 1..].iter();
        let count = below.take_while(|row| row.depth > depth).count();
        self.rows.drain(at + 1..at + 1 + count);
        self.rows[at].open = false;
    }

    /// What is shown on a screen of so many lines.
    fn draw(&self, lines: usize) -> String {
        let room = lines.saturating_sub(3 + self.info.len()).max(1);
        let first = self.at.saturating_sub(room - 1);
        let mut out = format!("{HELP}\n\n");
        for (i, row) in self.rows.iter().enumerate().skip(first).take(room) {
            let cursor = if i == self.at { '>' } else { ' ' };
            let mark = match (row.node.mounted, row.open) {
                (true, _) => ' ',
                (false, true) => '-',
                (false, false) => '+',
            };
            let (indent, label) = ("  ".repeat(row.depth), row.node.label(false));
            let facts = row.node.facts[..2].join(" ");
            out.push_str(&format!("{cursor} {indent}{mark} {label}   {facts}\n"));
        }
        for line in &self.info {
            out.push_str(line);
            out.push('\n');
        }
        out
    }
}

/// The keys in what the terminal sent.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let (mut keys, mut rest) = (Vec::new(), bytes);
    while let Some(first) = rest.first() {
        let (key, length) = match rest {
            [0x1b, b'[', b'A', ..] => (Some(Key::Up), 3),
            [0x1b, b'[', b'B', ..] => (Some(Key::Down), 3),
            [0x1b, b'[', b'C', ..] => (Some(Key::Open), 3),
            [0x1b, b'[', b'D', ..] => (Some(Key::Close), 3),
            [0x1b, b'[', _, ..] => (None, 3),
            _ => (plain(*first), 1),
        };
        keys.extend(key);
        rest = &rest[length.min(rest.len())..];
    }
    keys
}

fn plain(byte: u8) -> Option<Key> {
    match byte {
        b'k' => Some(Key::Up),
        b'j' => Some(Key::Down),
        b'l' | b' ' => Some(Key::Open),
        b'h' => Some(Key::Close),
        b'i' => Some(Key::Info),
        b'\r' | b'\n' => Some(Key::Go),
        b'q' | 0x1b | 0x03 | 0x04 => Some(Key::Leave),
        _ => None,
    }
}

/// The terminal without line editing and echo, on a page of its own.
struct Screen {
    before: Termios,
}

impl Screen {
    fn open() -> Result<Screen> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || !std::io::stdout().is_terminal() {
            bail!("--interactive needs a terminal; `kubectl ws tree` prints the tree");
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        print!("\x1b[?1049h");
        Ok(Screen { before })
    }

    fn show(&self, state: &State) -> Result<()> {
        let size = tcgetwinsize(std::io::stdout()).ok();
        let lines = size.map(|s| usize::from(s.ws_row)).filter(|rows| *rows > 0);
        let text = state.draw(lines.unwrap_or(LINES)).replace('\n', "\r\n");
        let mut out = std::io::stdout();
        write!(out, "\x1b[2J\x1b[H{text}")?;
        Ok(out.flush()?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("\x1b[?1049l");
        // There is nobody left to tell when the terminal itself is gone.
        let _ = std::io::stdout().flush();
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Walks until the user goes somewhere or leaves.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &mut Session) -> Result<()> {
    let screen = Screen::open()?;
    let mut state = State::new(Node::bare(&session.path));
    let found = children(session, &session.path).await?;
    state.open(0, found);
    let mut bytes = [0; 64];
    let goal = 'walk: loop {
        screen.show(&state)?;
        let count = std::io::stdin().read(&mut bytes)?;
        if count == 0 {
            break None;
        }
        for key in keys(&bytes[..count]) {
            match state.press(key) {
                Next::Draw => {}
                Next::Load(at) => {
                    let below = below(session, &state.rows[at].node.path).await?;
                    state.open(at, below);
                }
                Next::Info(path) => state.info = apis(session, &path).await,
                Next::Go(path) => break 'walk Some(path),
                Next::Leave => break 'walk None,
            }
        }
    };
    drop(screen);
    match goal {
        Some(path) => enter(session, &path).await,
        None => Ok(()),
    }
}

/// What a workspace exports and binds, as far as we may know.
async fn apis(session: &Session, path: &str) -> Vec<String> {
    let there = session.workspace(path);
    let mut lines = vec![String::new()];
    for plural in ["apiexports", "apibindings"] {
        let resource = Resource::new("apis.kcp.io", "v1alpha2", plural);
        let words = match there.list(&resource, &List::default()).await {
            Ok(list) => {
                let names = list.items.iter();
                let names: Vec<&str> = names
                    .filter_map(|o| o["metadata"]["name"].as_str())
                    .collect();
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            }
            Err(error) => error.to_string(),
        };
        lines.push(format!("{plural}: {words}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(pressed: &[u8]) -> (State, Vec<Next>) {
        let mut state = State::new(Node::bare("root"));
        state.open(0, vec![Node::bare("root:a"), Node::bare("root:b")]);
        let mut all = Vec::new();
        for key in keys(pressed) {
            let next = state.press(key);
            if let Next::Load(at) = next {
                let path = format!("{}:x", state.rows[at].node.path);
                state.open(at, vec![Node::bare(&path)]);
            }
            all.push(next);
        }
        (state, all)
    }

    fn paths(state: &State) -> Vec<&str> {
        state.rows.iter().map(|r| r.node.path.as_str()).collect()
    }

    #[test]
    fn arrows_open_and_close_branches() {
        let (state, next) = walked(b"\x1b[B\x1b[C\x1b[C");
        assert_eq!(next, [Next::Draw, Next::Load(1), Next::Draw]);
        assert_eq!(paths(&state), ["root", "root:a", "root:a:x", "root:b"]);
        assert_eq!(state.at, 2);
        let (state, _) = walked(b"jlhh");
        assert_eq!(paths(&state), ["root", "root:a", "root:b"]);
        assert_eq!(state.at, 0);
    }

    #[test]
    fn the_cursor_stays_in_the_tree_and_on_the_screen() {
        let (state, _) = walked(b"kkjjjjjj");
        assert_eq!(state.at, 2);
        let drawn = state.draw(4);
        assert!(
            drawn.contains(">   + b") && !drawn.contains("+ a"),
            "{drawn}"
        );
    }

    #[test]
    fn enter_goes_and_q_leaves() {
        let (_, next) = walked(b"j\r");
        assert_eq!(next[1], Next::Go("root:a".into()));
        assert_eq!(walked(b"i").1, [Next::Info("root".into())]);
        for leave in [&b"q"[..], b"\x1b", b"\x03"] {
            assert_eq!(walked(leave).1, [Next::Leave]);
        }
        assert!(keys(b"\x1b[H").is_empty());
    }
}

//! What is wrong with an expression, and where: rendered as cel-go renders it.
//!
//! Start at [`CompileError`]. Positions are code points, lines count from one and columns from
//! zero. The text of each message belongs to whoever reports it; only the frame around it is made
//! here.

use crate::limits;
use std::fmt;

/// One complaint about an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Line, from one; -1 when the complaint is about the whole expression.
    pub line: i64,
    /// Column in code points, from zero; -1 when the complaint is about the whole expression.
    pub column: i64,
    /// The message without position and source line.
    pub message: String,
}

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// It does not parse or does not type-check. `text` is the whole rendering, as in
    /// `ERROR: <input>:1:6: undefined field 'x'` with the source line and a pointer below.
    Issues {
        /// The complaints in order of position.
        issues: Vec<Issue>,
        /// All of them rendered, one after the other.
        text: String,
    },
    /// It type-checks, but no program can be made of it (a constant conversion that fails, a
    /// constant regular expression that does not compile). Kubernetes reports these as `program
    /// instantiation failed: TEXT`.
    Program(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issues { text, .. } => f.write_str(text),
            Self::Program(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CompileError {}

/// Collects issues up to the limit and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Issues {
    found: Vec<Issue>,
    total: usize,
}

impl Issues {
    pub(crate) fn report(&mut self, at: Option<(u32, u32)>, message: impl Into<String>) {
        self.total += 1;
        if self.total > limits::ISSUES {
            return;
        }
        let (line, column) = at.map_or((-1, -1), |(l, c)| (i64::from(l), i64::from(c)));
        self.push(line, column, message.into());
    }

    /// An issue with nothing: there is a line, and no column on it.
    pub(crate) fn report_empty(&mut self, message: String) {
        self.total += 1;
        self.push(1, -1, message);
    }

    fn push(&mut self, line: i64, column: i64, message: String) {
        self.found.push(Issue {
            line,
            column,
            message,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(crate) fn into_error(mut self, source: &Source) -> CompileError {
        self.found.sort_by_key(|i| (i.line, i.column));
        let mut lines: Vec<String> = self.found.iter().map(|i| source.render(i)).collect();
        if self.total > limits::ISSUES {
            lines.push(format!(
                "{} more errors were truncated",
                self.total - limits::ISSUES
            ));
        }
        CompileError::Issues {
            issues: self.found,
            text: lines.join("\n"),
        }
    }
}

/// The text of an expression with the means to turn an offset into a line and a column.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) chars: Vec<char>,
    line_starts: Vec<u32>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut line_starts = vec![0];
        for (i, c) in chars.iter().enumerate() {
            if *c == '\n' {
                line_starts.push(i as u32 + 1);
            }
        }
        Self { chars, line_starts }
    }

    /// Line (from one) and column (from zero) of an offset in code points.
    pub(crate) fn location(&self, offset: u32) -> (u32, u32) {
        let line = self.line_starts.partition_point(|s| *s <= offset);
        let start = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        (line as u32, offset - start)
    }

    fn line(&self, line: i64) -> Option<String> {
        if self.chars.is_empty() {
            return None;
        }
        let index = usize::try_from(line - 1).ok()?;
        let start = *self.line_starts.get(index)? as usize;
        let end = self
            .line_starts
            .get(index + 1)
            .map_or(self.chars.len(), |e| *e as usize - 1);
        Some(self.chars.get(start..end)?.iter().collect())
    }

    fn render(&self, issue: &Issue) -> String {
        let mut out = format!(
            "ERROR: <input>:{}:{}: {}",
            issue.line,
            issue.column + 1,
            issue.message
        );
        let Some(snippet) = self.line(issue.line) else {
            return out;
        };
        if snippet.len() > limits::SNIPPET_BYTES {
            return out;
        }
        let snippet = snippet.replace('\t', " ");
        let wide = |c: char| c.len_utf8() > 1;
        let mut rest = snippet.chars();
        let mut pointer = String::new();
        for _ in 0..issue.column.max(0) {
            let Some(c) = rest.next() else { break };
            pointer.push(if wide(c) { '\u{ff0e}' } else { '.' });
        }
        pointer.push(if rest.next().is_some_and(wide) {
            '\u{ff3e}'
        } else {
            '^'
        });
        out.push_str("\n | ");
        out.push_str(&snippet);
        out.push_str("\n | ");
        out.push_str(&pointer);
        out
    }
}

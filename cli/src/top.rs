//! `kubectl hanse top workspaces`: what the workspaces here hold and cost.
//!
//! The hub counts; this only asks page by page, sorts and aligns. What the caller may not read is
//! not in the answers, so it is not in the table.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use hanse_client::Request;
use serde_json::Value;

use crate::session::Session;
use crate::table::{age, table};

/// What can be measured.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the current workspace and those directly below it with what they hold and cost.
    ///
    /// OBJECTS, STORED and MEMORY are of now. Requests, CPU time and bytes are counted since the
    /// time in COUNTED, which is when the workspace was first used after the server started or
    /// after it had been quiet for long. CPU is the time that threads worked on its requests.
    #[command(visible_alias = "workspace", after_help = EXAMPLES)]
    Workspaces(Flags),
}

const EXAMPLES: &str = "\
Examples:
  kubectl hanse top workspaces
  kubectl hanse top workspaces --sort-by memory --limit 10
  kubectl hanse top workspaces -w :root:org";

/// How they are listed.
#[derive(clap::Args)]
pub struct Flags {
    /// What the table is sorted by, the most first.
    #[arg(long, value_enum, default_value_t = Column::Cpu)]
    sort_by: Column,
    /// Shows so many only.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// A column that can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// Time of threads.
    Cpu,
    /// Requests.
    Requests,
    /// Bytes sent in answers.
    Sent,
    /// Bytes sent to watches.
    Watch,
    /// Objects.
    Objects,
    /// Bytes of the objects' documents.
    Stored,
    /// Bytes of memory that they take.
    Memory,
    /// The name.
    Name,
}

impl Column {
    fn member(self) -> &'static str {
        match self {
            Self::Cpu => "cpuMicroseconds",
            Self::Requests => "requests",
            Self::Sent => "sentBytes",
            Self::Watch => "watchBytes",
            Self::Objects => "objects",
            Self::Stored => "storedBytes",
            Self::Memory => "memoryBytes",
            Self::Name => "path",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, command: &Command) -> Result<()> {
    let Command::Workspaces(flags) = command;
    let mut entries = read(session).await?;
    sort(&mut entries, flags.sort_by);
    entries.truncate(flags.limit.unwrap_or(usize::MAX));
    let heads = [
        "Workspace",
        "Objects",
        "Stored",
        "Memory",
        "Requests",
        "CPU",
        "Sent",
        "Watch",
        "Counted",
    ];
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    print!("{}", table(&heads, &rows));
    Ok(())
}

async fn read(session: &Session) -> Result<Vec<Value>> {
    let path = format!("/services/metrics/clusters/{}", session.path);
    let mut entries = Vec::new();
    let mut after = String::new();
    loop {
        let mut request = Request::get(&path).with("children", "true");
        if !after.is_empty() {
            request = request.with("continue", after.as_str());
        }
        let mut page: Value = serde_json::from_slice(&session.server.raw(request).await?)?;
        if let Some(more) = page["workspaces"].as_array_mut() {
            entries.append(more);
        }
        match page["continue"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(entries),
        }
    }
}

fn sort(entries: &mut [Value], by: Column) {
    let name = |entry: &Value| entry["path"].as_str().unwrap_or_default().to_owned();
    entries.sort_by_key(|entry| {
        let most = entry[by.member()].as_u64().unwrap_or(0);
        (std::cmp::Reverse(most), name(entry))
    });
}

fn row(entry: &Value) -> Vec<String> {
    let number = |name: &str| entry[name].as_u64().unwrap_or(0);
    let cpu = number("cpuMicroseconds");
    vec![
        entry["path"].as_str().unwrap_or_default().to_owned(),
        number("objects").to_string(),
        bytes(number("storedBytes")),
        bytes(number("memoryBytes")),
        number("requests").to_string(),
        format!("{}.{:03}s", cpu / 1_000_000, cpu / 1_000 % 1_000),
        bytes(number("sentBytes")),
        bytes(number("watchBytes")),
        age(entry["since"].as_str()),
    ]
}

/// Bytes with three digits or so: `812`, `1.4Ki`, `23Mi`.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["", "Ki", "Mi", "Gi"] {
        if value < 1_000.0 {
            return match unit {
                "" => count.to_string(),
                _ if value < 10.0 => format!("{value:.1}{unit}"),
                _ => format!("{value:.0}{unit}"),
            };
        }
        value /= 1_024.0;
    }
    format!("{value:.1}Ti")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_dearest_comes_first_and_columns_read_well() {
        let mut entries = vec![
            json!({"path": "root:a", "cpuMicroseconds": 1_500, "memoryBytes": 4_000_000}),
            json!({"path": "root:c", "cpuMicroseconds": 2_034_999, "memoryBytes": 10}),
            json!({"path": "root:b", "cpuMicroseconds": 1_500, "memoryBytes": 1_000}),
        ];
        let names = |entries: &[Value]| -> Vec<String> {
            entries.iter().map(|entry| row(entry)[0].clone()).collect()
        };
        sort(&mut entries, Column::Cpu);
        assert_eq!(names(&entries), ["root:c", "root:a", "root:b"]);
        assert_eq!(row(&entries[0])[5], "2.034s");
        sort(&mut entries, Column::Memory);
        assert_eq!(names(&entries), ["root:a", "root:b", "root:c"]);
        assert_eq!(row(&entries[0])[3], "3.8Mi");
        sort(&mut entries, Column::Name);
        assert_eq!(names(&entries), ["root:a", "root:b", "root:c"]);
        assert_eq!(row(&entries[0])[8], "<none>");
    }
}

//! A program that a test started: its output in a file, its end certain.
//!
//! Every [`Process`] leads a process group of its own; stopping, killing and dropping act on the
//! group by its id, so that nothing a test starts outlives it. [`Process::cpu_ticks`] and
//! [`Process::resident_kib`] read what the kernel counts, for measurements.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a program may take to end by itself when it is asked to.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A program that should be running has ended: waiting for what it was to do is in vain.
#[derive(Debug)]
pub struct Ended(String);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Ended {}

impl Process {
    /// Starts a program in a process group of its own; what it prints is appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        Ok(Process {
            name: name.to_owned(),
            child,
            log: log.to_path_buf(),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error with the end of its output when it is no longer running.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let words = format!("{} ended with {status}:\n{}", self.name, tail(&self.log));
            return Err(Ended(words).into());
        }
        Ok(())
    }

    /// Ends it the hard way, as a crash would, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL);
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits; an error when it does not end, or ends with an error.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_TIME_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} stopped with {status}:\n{}", self.name, tail(&self.log));
            }
            if Instant::now() > deadline {
                bail!("{} did not stop within {STOP_TIME_MAX:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Freezes or thaws it, as a machine under pressure would.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// User and system time so far, in ticks of 10 ms, its children that ended included.
    pub fn cpu_ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        cpu_ticks_of(&stat).with_context(|| format!("cannot read the times of {}", self.name))
    }

    /// The memory that is resident now, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("cannot read the memory of {}", self.name))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// User and system time of this process so far, in ticks of 10 ms.
pub fn own_cpu_ticks() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    cpu_ticks_of(&stat).context("cannot read our own times")
}

/// Fields 14 and 15 of `/proc/<pid>/stat`, counted after the name, which may hold blanks.
fn cpu_ticks_of(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The last lines of a log file, for the message of a failed test.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned());
    let text = text.unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A free port on the loopback address. Another process may take it before it is used; the
/// kernel hands out the same port rarely enough for tests.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 40 2 13";
        assert_eq!(cpu_ticks_of(stat), Some(42));
    }

    #[test]
    fn a_process_ends_when_it_is_dropped_and_its_children_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]);
        let mut process = Process::start("sh", &mut command, &log).unwrap();
        process.check_running().unwrap();
        let child = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
        };
        assert!(process.resident_kib().unwrap() > 0);
        process.cpu_ticks().unwrap();
        drop(process);
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        while !gone() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_program_that_ended_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo last words; exit 3"]);
        let mut process = Process::start("sh", &mut command, &dir.path().join("log")).unwrap();
        let error = loop {
            if let Err(error) = process.check_running() {
                break error.to_string();
            }
        };
        assert!(
            error.contains("last words") && error.contains("exit status: 3"),
            "{error}"
        );
    }
}

//! What is being measured just now, in one line; nothing where nobody looks.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::subject::Subject;

/// The line of progress: a bar over the groups, and the step within the one that runs.
pub struct Progress(ProgressBar);

impl Progress {
    /// A line for so many groups.
    pub fn new(groups: usize) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(groups as u64);
        let words = "{spinner} {elapsed} [{bar:20}] {pos}/{len} {prefix}: {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(words) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    /// A group begins.
    pub fn begin(&self, group: &str) {
        self.0.set_prefix(group.to_owned());
        self.0.set_message("starting");
    }

    /// A step of the group begins.
    pub fn say(&self, step: &str) {
        self.0.set_message(step.to_owned());
    }

    /// A step of the group begins, at this server.
    pub fn tell(&self, subject: &Subject, step: &str) {
        self.0
            .set_message(format!("{}, {step}", subject.kind.name()));
    }

    /// A group ended.
    pub fn done(&self) {
        self.0.inc(1);
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        // A hidden bar prints nothing at all.
        if self.0.is_hidden() {
            eprintln!("{text}");
        } else {
            self.0.println(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! The audit log's file: grows to a size, is put aside, and what was put aside is cleared away.
//!
//! Start at [`Rotating`]. Names and order are those that log collectors know from Kubernetes: what
//! was `audit.log` becomes `audit-2026-11-21T08-30-00.000.log` (UTC). The invariant: a line is
//! never divided between two files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::Clock;

const MEBIBYTE: u64 = 1 << 20;
/// Size at which a file is put aside when none is given.
const SIZE_DEFAULT: u64 = 100 * MEBIBYTE;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How much is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// MiB of a file before it is put aside; 0 is 100.
    pub size: u64,
    /// Days that files put aside are kept; 0 is for ever.
    pub age: u64,
    /// Files put aside that are kept; 0 is all.
    pub backups: usize,
}

/// A file that is put aside when it is full. Each write is one line.
pub struct Rotating {
    path: PathBuf,
    keep: Keep,
    clock: Arc<dyn Clock>,
    file: File,
    size: u64,
}

impl Rotating {
    /// Opens the file, and goes on behind what it holds.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, keep: Keep, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let file = append(path)?;
        Ok(Self {
            size: file.metadata()?.len(),
            path: path.to_path_buf(),
            keep,
            clock,
            file,
        })
    }

    fn bytes_max(&self) -> u64 {
        match self.keep.size {
            0 => SIZE_DEFAULT,
            size => size.saturating_mul(MEBIBYTE),
        }
    }

    /// The name without its ending, and the ending with its dot.
    fn name(&self) -> (String, String) {
        let part = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let ending = part(self.path.extension());
        let dot = if ending.is_empty() { "" } else { "." };
        (part(self.path.file_stem()), format!("{dot}{ending}"))
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let (stem, ending) = self.name();
        let aside = format!("{stem}-{}{ending}", stamp(self.clock.wall()));
        std::fs::rename(&self.path, self.path.with_file_name(aside))?;
        self.file = append(&self.path)?;
        self.size = 0;
        self.clear_away()
    }

    /// Deletes what was put aside too long ago, or is one too many. The stamp in the name tells.
    fn clear_away(&self) -> io::Result<()> {
        let (stem, ending) = self.name();
        let parent = self.path.parent().filter(|parent| parent.as_os_str() != "");
        let mut aside: Vec<(String, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(parent.unwrap_or(Path::new(".")))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let stamp = name.as_deref().and_then(|name| {
                name.strip_prefix(&stem)?
                    .strip_prefix('-')?
                    .strip_suffix(&ending)
            });
            if let Some(stamp) = stamp.filter(|stamp| is_stamp(stamp)) {
                aside.push((stamp.to_owned(), path.clone()));
            }
        }
        aside.sort();
        aside.reverse();
        let age = DAY.saturating_mul(u32::try_from(self.keep.age).unwrap_or(u32::MAX));
        let oldest = match self.keep.age {
            0 => String::new(),
            _ => stamp(self.clock.wall().saturating_sub(age)),
        };
        for (at, (stamp, path)) in aside.iter().enumerate() {
            let too_many = self.keep.backups > 0 && at >= self.keep.backups;
            if too_many || *stamp < oldest {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// `2026-11-21T08-30-00.000`: the time since 1970 as a name that sorts.
fn stamp(wall: Duration) -> String {
    let micros = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
    let text = hanse_wire::time::format_micro(micros);
    // 2026-11-21T08:30:00.000000Z
    text.get(..23).unwrap_or_default().replace(':', "-")
}

fn is_stamp(text: &str) -> bool {
    let like = b"0000-00-00T00-00-00.000";
    let fits = |(byte, like): (u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        other => byte == *other,
    };
    text.len() == like.len() && text.bytes().zip(like).all(fits)
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + line.len() as u64 > self.bytes_max() {
            self.put_aside()?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hanse_seams::BoxFuture;

    use super::*;

    /// A wall clock that is set by hand.
    struct Hand(Mutex<Duration>);

    impl Clock for Hand {
        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn wall(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn sleep(&self, _: Duration) -> BoxFuture<()> {
            Box::pin(std::future::pending())
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let name = |entry: io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn full_files_are_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        std::fs::write(directory.path().join("audit-other.log"), "kept").unwrap();
        let clock = Arc::new(Hand(Mutex::new(Duration::from_secs(1_795_249_800))));
        let keep = Keep {
            size: 1,
            age: 10,
            backups: 2,
        };
        let open = || Rotating::open(&path, keep, Arc::<Hand>::clone(&clock)).unwrap();
        let line = vec![b'x'; 700_000];
        let mut log = open();
        log.write_all(&line).unwrap();
        assert_eq!(names(directory.path()), ["audit-other.log", "audit.log"]);
        // A new process goes on where the old one was.
        let mut log = {
            drop(log);
            open()
        };
        for _ in 0..4 {
            *clock.0.lock().unwrap() += DAY;
            log.write_all(&line).unwrap();
        }
        let expected = [
            "audit-2026-11-24T08-30-00.000.log",
            "audit-2026-11-25T08-30-00.000.log",
            "audit-other.log",
            "audit.log",
        ];
        assert_eq!(names(directory.path()), expected);
        *clock.0.lock().unwrap() += 20 * DAY;
        log.write_all(&line).unwrap();
        let left = names(directory.path());
        assert_eq!(left.len(), 3, "{left:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 700_000);
    }
}

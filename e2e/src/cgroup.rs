//! A control group with a memory limit, for a server that is to live within it.
//!
//! Start at [`Group::with_memory`], which answers nothing where control groups cannot be made:
//! tests then tell the server its limit by a flag. Both versions are known; the group is removed
//! when it is dropped, after whoever lives in it has ended.

use std::path::{Path, PathBuf};

/// Where control groups are found.
const MOUNT: &str = "/sys/fs/cgroup";

/// A group of its own.
pub struct Group {
    dir: PathBuf,
    /// The file that says how much was used at most.
    peak: &'static str,
}

impl Group {
    /// A new group below this process's own whose members may have so many bytes together.
    pub fn with_memory(bytes: u64) -> Option<Group> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |wanted: &str| {
            let line = own.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                let ours = controllers.split(',').any(|name| name == wanted);
                ours.then(|| path.trim_start_matches('/').to_owned())
            });
            line.unwrap_or_default()
        };
        let old = Path::new(MOUNT).join("memory");
        let new = Path::new(MOUNT);
        let places = [
            (
                old.join(path("memory")),
                "memory.limit_in_bytes",
                "memory.max_usage_in_bytes",
            ),
            (old, "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            (new.join(path("")), "memory.max", "memory.peak"),
        ];
        let name = format!("hanse-test-{}", std::process::id());
        places.into_iter().find_map(|(parent, limit, peak)| {
            if !parent.join(limit).is_file() {
                return None;
            }
            let dir = parent.join(&name);
            std::fs::create_dir(&dir).ok()?;
            let group = Group { dir, peak };
            std::fs::write(group.dir.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Words to put before a command so that it begins its life in the group.
    pub fn prefix(&self) -> Vec<String> {
        let join = format!(
            "echo $$ > {}/cgroup.procs && exec \"$@\"",
            self.dir.display()
        );
        ["sh", "-c", &join, "sh"].map(str::to_owned).into()
    }

    /// The most bytes that its members had together, the kernel's caches for them included.
    pub fn peak(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.dir.join(self.peak)).ok()?;
        text.trim().parse().ok()
    }

    /// How often the kernel ended a process of it for want of memory; none where that is not told.
    pub fn kills(&self) -> Option<u64> {
        let files = ["memory.oom_control", "memory.events"];
        let texts = files.map(|file| std::fs::read_to_string(self.dir.join(file)));
        let text = texts.into_iter().find_map(Result::ok)?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The members have ended, and the kernel may need a moment to see it.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

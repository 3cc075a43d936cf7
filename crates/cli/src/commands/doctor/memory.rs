//! How much memory is free: of the machine, and of the control group that the program runs in.

use std::fs;
use std::path::{Path, PathBuf};

/// Free bytes, if they are known.
pub fn free() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| available(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_free(&groups, Path::new("/sys/fs/cgroup"));
    machine.into_iter().chain(group).min()
}

/// What `/proc/meminfo` says.
fn available(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The least that any group around the program has left; `groups` is what `/proc/self/cgroup` says.
fn group_free(groups: &str, root: &Path) -> Option<u64> {
    let mut free = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, limit, usage) = match controllers {
            "" => (root.to_owned(), "memory.max", "memory.current"),
            own if own.split(',').any(|name| name == "memory") => (
                root.join("memory"),
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            ),
            _ => continue,
        };
        let mut folder: PathBuf = base.join(path.trim_start_matches('/'));
        while folder.starts_with(&base) {
            let number = |name: &str| -> Option<u64> {
                fs::read_to_string(folder.join(name))
                    .ok()?
                    .trim()
                    .parse()
                    .ok()
            };
            free.extend(number(limit).map(|most| most.saturating_sub(number(usage).unwrap_or(0))));
            if !folder.pop() {
                break;
            }
        }
    }
    free.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_have_less_than_the_machine() {
        assert_eq!(
            available("MemTotal: 9 kB\nMemAvailable:   8 kB\n"),
            Some(8192)
        );
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("a/b");
        fs::create_dir_all(&group).unwrap();
        let write =
            |folder: &Path, name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write(&group, "memory.max", "max\n");
        assert_eq!(group_free("0::/a/b\n", root.path()), None);
        write(&root.path().join("a"), "memory.max", "1000\n");
        write(&root.path().join("a"), "memory.current", "300\n");
        assert_eq!(group_free("0::/a/b\n", root.path()), Some(700));
        write(&group, "memory.max", "10\n");
        write(&group, "memory.current", "50\n");
        assert_eq!(group_free("0::/a/b\n", root.path()), Some(0));
        assert_eq!(group_free("1:cpu:/a\n", root.path()), None);
    }
}

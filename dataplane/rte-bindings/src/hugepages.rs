//! What hugepages the kernel has reserved.

use std::fs;
use std::io;
use std::path::Path;

/// The kernel's reserve of one hugepage size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hugepages {
    /// Page size in KiB: 2048 and 1048576 on x86-64.
    pub size_kib: u64,
    /// Pages reserved on all NUMA nodes.
    pub total: u64,
    /// Reserved pages nobody uses.
    pub free: u64,
}

/// The hugepage reserves, smallest page first. Empty where the kernel has no hugepages.
///
/// # Errors
/// Reading `/sys` failed.
pub fn hugepages_free() -> io::Result<Vec<Hugepages>> {
    read(Path::new("/sys/kernel/mm/hugepages"))
}

fn read(root: &Path) -> io::Result<Vec<Hugepages>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let size = name
            .to_str()
            .and_then(|n| n.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok());
        if let Some(size_kib) = size {
            let total = number(&entry.path().join("nr_hugepages"))?;
            let free = number(&entry.path().join("free_hugepages"))?;
            found.push(Hugepages {
                size_kib,
                total,
                free,
            });
        }
    }
    found.sort_by_key(|pages| pages.size_kib);
    Ok(found)
}

fn number(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {error}: {text:?}", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_size() {
        let root = tempfile::tempdir().unwrap();
        for (size, total, free) in [("1048576", "1\n", "0\n"), ("2048", "512\n", "500\n")] {
            let folder = root.path().join(format!("hugepages-{size}kB"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("nr_hugepages"), total).unwrap();
            fs::write(folder.join("free_hugepages"), free).unwrap();
        }
        fs::create_dir(root.path().join("unrelated")).unwrap();
        let expect = [
            Hugepages {
                size_kib: 2048,
                total: 512,
                free: 500,
            },
            Hugepages {
                size_kib: 1_048_576,
                total: 1,
                free: 0,
            },
        ];
        assert_eq!(read(root.path()).unwrap(), expect);
        assert!(read(&root.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn garbage_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("hugepages-2048kB");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("nr_hugepages"), "many").unwrap();
        assert_eq!(read(root.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

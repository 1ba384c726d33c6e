//! Which files the tour looks at: the text and source files under a directory.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Larger files are data rather than something that somebody wrote.
const MAX_BYTES: u64 = 1 << 20;

/// Directories that hold what a tool put there; so do those whose name begins with a dot.
const SKIPPED: [&str; 3] = ["__pycache__", "site-packages", "dist-packages"];

/// A file by its path from the root, with `/`, and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    pub size: u64,
}

/// The content of a file by its path from the root.
pub fn read(root: &str, path: &str) -> io::Result<Vec<u8>> {
    fs::read(Path::new(root).join(path))
}

/// The text files under `root`, by path.
///
/// Left out are links, empty and too large files, those that hold a NUL byte (binary), those that
/// cannot be read, and those whose name cannot stand on a line of UTF-8. Each is read to its end,
/// so that no run that follows waits for the disk.
pub fn text_files(root: &str) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    fs::read_dir(root)?;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(Path::new(root).join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
                continue;
            };
            if name.contains(char::is_control) {
                continue;
            }
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if kind.is_file() {
                let size = text_size(&entry.path());
                if size > 0 {
                    files.push(File { path, size });
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The size of a text file; 0 for anything else.
fn text_size(path: &Path) -> u64 {
    let small = fs::metadata(path).is_ok_and(|status| status.len() <= MAX_BYTES);
    match fs::read(path) {
        Ok(content) if small && !content.contains(&0) => content.len() as u64,
        _ => 0,
    }
}
